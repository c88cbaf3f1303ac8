// Quantisation of a probability mass function to the integer CDF that CompressAI's coder uses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pylatent::compat {

// n probabilities -> n + 1 integers from 0 to 2^precision, strictly increasing; 1 <= precision <= 30. Throws
// std::invalid_argument for negative, NaN or infinite entries, a zero or overflowing sum, and more bins than
// 2^precision.
std::vector<int32_t> quantize_pmf(const float* pmf, size_t n, int precision);

}  // namespace pylatent::compat
