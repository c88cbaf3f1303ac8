// The sets of kernels that this machine can run.
#pragma once

#include <vector>

#include "integer_conv/conv_kernel.h"

namespace pylatent::integers {

// Names of those that PYLATENT_SIMD allows, the fastest last.
std::vector<const char*> variants();

// The kernels of a place in variants(), or of the last for -1. Throws std::invalid_argument.
const Kernels& kernels_of(int variant);

// The place of an argument that may be -1. Throws std::invalid_argument.
int variant_number(int variant);

}  // namespace pylatent::integers
