// The gate of the gated fusion on the device.
#pragma once

#include "common/device.h"

namespace pylatent::gated_fusion {

struct Gates {
  float open, closed;
};

// sigmoid(v) and sigmoid(-v), neither of which overflows or cancels. Unless EXACT, by fast exponential and division:
// good enough for results of 16 bits and products in TF32.
template <bool EXACT>
__device__ inline Gates gates(float v) {
  const float e = EXACT ? expf(-fabsf(v)) : fast_exp(-fabsf(v));
  const float large = EXACT ? 1 / (1 + e) : fast_divide(1.0f, 1 + e);
  const float small = e * large;
  return v >= 0 ? Gates{large, small} : Gates{small, large};
}

}  // namespace pylatent::gated_fusion
