// The CPU kernels of one SIMD level: blocks of at most kBlock elements (common/simd_stage.h).
#pragma once

#include <cstdint>

#include "common/dtype.h"

namespace pylatent::gaussian {

struct Kernels {
  void (*forward)(const void* q, const void* scale, float* bits, int64_t count);
  void (*backward)(const float* grad, const void* q, const void* scale, void* grad_q, void* grad_scale, int64_t count);
};

Kernels scalar_kernels(Dtype dtype);
Kernels avx2_kernels(Dtype dtype);
Kernels avx512_kernels(Dtype dtype);

}  // namespace pylatent::gaussian
