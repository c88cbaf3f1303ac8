// CUDA launcher of sga_sample; arguments as in sga_sample.h.
#pragma once

#include <cstdint>

namespace pylatent {

// A null `tau`, a float on the device, means `tau_value`. Exactly one of `noise` and `key` is not null, `slope` may be.
void sga_sample_cuda_forward(uintptr_t v, uintptr_t tau, uintptr_t noise, uintptr_t key, uintptr_t value,
                             uintptr_t slope, int64_t count, int method, int classes, float tau_value, float a,
                             double r, float n, int dtype, int device, uintptr_t stream);

}  // namespace pylatent
