// What CompressAI's entropy models do before coding, in one pass each and with the same results.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pylatent::compat {

// counts[i] = number of ascending thresholds[0..count) for which values[i] <= threshold does not hold; so NaN gives
// `count`. Every value takes the same steps, without branches, so that several are in flight at a time.
void count_below(const float* values, size_t n, const float* thresholds, size_t count, int32_t* counts);

// symbols[i] = values[i] - means[i] rounded half to even (means may be null, for zeros). Returns false, with `symbols`
// unspecified, if any difference is NaN or not below 2^22 in magnitude.
bool round_residuals(const float* values, const float* means, size_t n, int32_t* symbols);

}  // namespace pylatent::compat
