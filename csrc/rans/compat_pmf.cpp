#include "rans/compat_pmf.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace pylatent::compat {
namespace {

// Every empty bin takes one unit from the bin with the smallest frequency above 1, the first of them on ties. That bin
// stays the smallest until it is down to 1, and no other frequency above 1 changes meanwhile, so the givers come in the
// order of one stable sort.
void feed_empty_bins(std::vector<uint64_t>& frequencies) {
  std::vector<size_t> givers;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    if (frequencies[i] > 1) givers.push_back(i);
  }
  std::stable_sort(givers.begin(), givers.end(), [&](size_t a, size_t b) { return frequencies[a] < frequencies[b]; });
  auto giver = givers.begin();
  for (uint64_t& frequency : frequencies) {
    if (frequency != 0) continue;
    while (giver != givers.end() && frequencies[*giver] == 1) ++giver;
    if (giver == givers.end()) throw std::invalid_argument("`pmf` has more bins than 2**precision");
    --frequencies[*giver];
    frequency = 1;
  }
}

}  // namespace

std::vector<int32_t> quantize_pmf(const float* pmf, size_t n, int precision) {
  if (precision < 1 || precision > 30) {
    throw std::invalid_argument("`precision` must be in [1, 30], got " + std::to_string(precision));
  }
  const uint64_t scale = uint64_t{1} << precision;
  std::vector<uint64_t> frequencies(n);
  uint64_t total = 0;
  for (size_t i = 0; i < n; ++i) {
    if (!(pmf[i] >= 0) || std::isinf(pmf[i])) {
      throw std::invalid_argument("`pmf[" + std::to_string(i) + "]` must be finite and at least 0, got " +
                                  std::to_string(pmf[i]));
    }
    const float scaled = std::round(pmf[i] * static_cast<float>(scale));  // half away from zero
    if (scaled >= 2147483648.0f) {
      throw std::invalid_argument("`pmf[" + std::to_string(i) + "]` is too large: " + std::to_string(pmf[i]));
    }
    frequencies[i] = static_cast<uint64_t>(scaled);
    total += frequencies[i];
    if (total > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) {
      throw std::invalid_argument("`pmf` must sum to less than 2**(31 - precision)");
    }
  }
  if (total == 0) throw std::invalid_argument("`pmf` must not be all zero at this precision");
  uint64_t sum = 0;
  for (uint64_t& frequency : frequencies) {
    frequency = scale * frequency / total;
    sum += frequency;
  }
  frequencies.back() += scale - sum;  // the last bin takes what rounding down has left over
  feed_empty_bins(frequencies);

  std::vector<int32_t> cdf(n + 1, 0);
  for (size_t i = 0; i < n; ++i) cdf[i + 1] = cdf[i] + static_cast<int32_t>(frequencies[i]);
  return cdf;
}

}  // namespace pylatent::compat
