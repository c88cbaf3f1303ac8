#include <algorithm>
#include <vector>

#include "common/blocks.h"
#include "common/checks.h"
#include "exact_conv/exact_conv.h"

namespace pylatent::exact {

void table_indexes(const float* values, int64_t count, const int32_t* thresholds, int64_t thresholds_count,
                   uint8_t* indexes, int threads) {
  check_range("number of thresholds", thresholds_count, 1, UINT8_MAX);
  int32_t lowest = 0;
  for (int64_t i = 0; i < thresholds_count; ++i) {
    check_range("threshold", thresholds[i], lowest, kLimit);
    lowest = thresholds[i];
  }
  // The answer for each integer up to one above the last threshold. Most values are small: few lines of it are touched.
  std::vector<uint8_t> answers(static_cast<size_t>(lowest) + 2, static_cast<uint8_t>(thresholds_count));
  auto from = answers.begin();
  for (int64_t i = 0; i < thresholds_count; ++i) {
    const auto to = answers.begin() + thresholds[i] + 1;
    std::fill(from, to, static_cast<uint8_t>(i));
    from = to;
  }
  const float highest = static_cast<float>(answers.size() - 1);
  for_blocks(count, 1, threads, [&](int64_t first, int64_t n) {
    for (int64_t i = first; i < first + n; ++i) {
      const float bounded = values[i] > 0 ? (values[i] < highest ? values[i] : highest) : 0;
      indexes[i] = answers[static_cast<size_t>(static_cast<int32_t>(bounded))];
    }
  });
}

}  // namespace pylatent::exact
