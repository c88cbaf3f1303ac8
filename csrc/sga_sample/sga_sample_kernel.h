// The CPU kernels of one SIMD level: a block of `count` <= kBlock elements from number `first` on, of `total`.
#pragma once

#include <cstdint>

#include "common/dtype.h"
#include "sga_sample/sga_sample.h"

namespace pylatent::sga {

using Kernel = void (*)(const SgaSettings& settings, const void* v, void* value, float* slope, int64_t first,
                        int64_t count, int64_t total);

Kernel scalar_kernel(Dtype dtype);
Kernel avx2_kernel(Dtype dtype);
Kernel avx512_kernel(Dtype dtype);

}  // namespace pylatent::sga
