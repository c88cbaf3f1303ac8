// Bits of a residual q under N(0, scale^2): -log2 of the mass of its unit bin. Elementwise over `count` elements; q and
// scale (and their gradients) have one dtype, bits and their gradient are floats.
#pragma once

#include <cstdint>

#include "common/dtype.h"

namespace pylatent {

void gaussian_bits_forward(const void* q, const void* scale, float* bits, int64_t count, Dtype dtype, int threads);

// grad_q and grad_scale may be null where they are not wanted.
void gaussian_bits_backward(const float* grad, const void* q, const void* scale, void* grad_q, void* grad_scale,
                            int64_t count, Dtype dtype, int threads);

}  // namespace pylatent
