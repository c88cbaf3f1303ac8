// Samples of relaxed rounding (SGA, SGA+) and their derivatives, elementwise.
#pragma once

#include <cstdint>

#include "common/dtype.h"

namespace pylatent {

// Exactly one of `noise` and `key` is not null.
struct SgaSettings {
  int method;                // sga::Method
  int classes;               // 2 or 3
  float tau, a, r, rest, n;  // values below 0.05 of tau count as 0.05; rest is 1 - r
  const float* noise;        // Gumbel noise, (classes, count)
  const int64_t* key;        // of the noise to be drawn: Philox's key, and the upper half of its counter
};

// `slope`, the derivative of value by v, may be null.
void sga_sample_forward(const SgaSettings& settings, const void* v, void* value, float* slope, int64_t count,
                        Dtype dtype, int threads);

}  // namespace pylatent
