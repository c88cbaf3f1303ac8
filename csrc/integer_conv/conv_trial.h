// Which of two sets of kernels is faster here, by trying them.
#pragma once

#include "integer_conv/conv_kernel.h"

namespace pylatent::integers {

// Whether a 3x3 layer of 128 channels takes `other` at least 1.1 times as long as `candidate`. Takes about 5 ms.
bool is_faster(const Kernels& candidate, const Kernels& other);

}  // namespace pylatent::integers
