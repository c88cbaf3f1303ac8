// CUDA launchers of gaussian_bits; arguments as in gaussian_bits.h.
#pragma once

#include <cstdint>

namespace pylatent {

void gaussian_bits_cuda_forward(uintptr_t q, uintptr_t scales, uintptr_t bits, int64_t count, int dtype, int device,
                                uintptr_t stream);

void gaussian_bits_cuda_backward(uintptr_t grad, uintptr_t q, uintptr_t scales, uintptr_t grad_q, uintptr_t grad_scales,
                                 int64_t count, int dtype, int device, uintptr_t stream);

}  // namespace pylatent
