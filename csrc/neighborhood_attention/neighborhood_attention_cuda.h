// CUDA launchers of neighborhood_attention: jobs as in neighborhood_attention.h.
#pragma once

#include <cstdint>

#include "neighborhood_attention/neighborhood_attention.h"

namespace pylatent::neighborhood {

void cuda_forward(const Job& job, int device, uintptr_t stream);

// delta: floats like job.lse. sums: floats (cuda_blocks(job), (2 kernel - 1)^2), the gradient of the bias in parts.
void cuda_backward(const Job& job, uintptr_t delta, uintptr_t sums, int device, uintptr_t stream);

int64_t cuda_blocks(const Job& job);

}  // namespace pylatent::neighborhood
