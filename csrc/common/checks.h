// Argument checks: throw std::invalid_argument (ValueError in Python), naming the argument, what was expected and what
// was got. They hold in release builds too; data from files is checked by its own readers.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace pylatent {

inline void check_equal(const char* name, int64_t got, int64_t expected) {
  if (got == expected) return;
  throw std::invalid_argument("`" + std::string(name) + "` must be " + std::to_string(expected) + ", got " +
                              std::to_string(got));
}

inline void check_range(const char* name, int64_t got, int64_t lowest, int64_t highest) {
  if (got >= lowest && got <= highest) return;
  throw std::invalid_argument("`" + std::string(name) + "` must lie between " + std::to_string(lowest) + " and " +
                              std::to_string(highest) + ", got " + std::to_string(got));
}

}  // namespace pylatent
