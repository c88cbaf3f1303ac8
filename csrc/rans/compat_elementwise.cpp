#include "rans/compat_elementwise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace pylatent::compat {

void count_below(const float* values, size_t n, const float* thresholds, size_t count, int32_t* counts) {
  size_t half = 1;
  while (2 * half <= count) half *= 2;
  std::vector<float> padded(2 * half - 1, std::numeric_limits<float>::infinity());
  std::copy(thresholds, thresholds + count, padded.begin());
  const float* const table = padded.data();
  for (size_t i = 0; i < n; ++i) {
    const float value = values[i];
    size_t below = 0;
    for (size_t step = half; step > 0; step /= 2) below += !(value <= table[below + step - 1]) ? step : 0;
    counts[i] = static_cast<int32_t>(std::min(below, count));  // NaN passes the padding too
  }
}

bool round_residuals(const float* values, const float* means, size_t n, int32_t* symbols) {
  // Adding 1.5 * 2^23 moves |v| < 2^22 to where floats are integers, so the sum is rounded half to even.
  constexpr float kShift = 12582912.0f;
  constexpr float kLimit = 4194304.0f;
  bool within = true;
  for (size_t i = 0; i < n; ++i) {
    const float v = means ? values[i] - means[i] : values[i];
    const bool fits = std::fabs(v) < kLimit;
    within &= fits;
    symbols[i] = static_cast<int32_t>((fits ? v : 0.0f) + kShift - kShift);
  }
  return within;
}

}  // namespace pylatent::compat
