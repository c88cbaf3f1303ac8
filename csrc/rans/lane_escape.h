// Symbols outside their table's range: nibbles of 3 bits, the lowest first, the top bit set where another follows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rans/lane_tables.h"

namespace pylatent::rans {

// Takes the symbols from the last to the first, as the encoder meets them.
class EscapeWriter {
 public:
  void put(const LaneTable& table, int32_t symbol) {
    uint64_t raw = symbol < table.low ? 2 * static_cast<uint64_t>(int64_t{table.low} - 1 - symbol) + 1
                                      : 2 * static_cast<uint64_t>(symbol - table.high() - 1);
    uint8_t nibbles[12];
    int n = 0;
    for (; raw >= 8; raw >>= 3) nibbles[n++] = static_cast<uint8_t>((raw & 7) | 8);
    reversed_.push_back(static_cast<uint8_t>(raw));
    while (n > 0) reversed_.push_back(nibbles[--n]);
  }

  std::string bytes() const {
    std::string out((reversed_.size() + 1) / 2, '\0');
    for (size_t i = 0; i < reversed_.size(); ++i) {
      const int nibble = reversed_[reversed_.size() - 1 - i];
      out[i / 2] = static_cast<char>(out[i / 2] | nibble << (i % 2 ? 4 : 0));
    }
    return out;
  }

 private:
  std::vector<uint8_t> reversed_;
};

// Never reads beyond its bytes; once something is wrong it returns 0 and stays wrong.
class EscapeReader {
 public:
  EscapeReader() = default;
  EscapeReader(const uint8_t* data, int64_t bytes) : data_(data), nibbles_(2 * bytes) {}

  int32_t take(const LaneTable& table) {
    uint64_t raw = 0;
    for (int shift = 0; shift <= 30; shift += 3) {
      if (at_ >= nibbles_) return fail();
      const uint32_t nibble = data_[at_ / 2] >> (at_ % 2 ? 4 : 0) & 15;
      ++at_;
      raw |= static_cast<uint64_t>(nibble & 7) << shift;
      if (nibble >= 8) continue;
      if (nibble == 0 && shift > 0) return fail();
      const int64_t distance = static_cast<int64_t>(raw >> 1);
      const int64_t value = raw & 1 ? table.low - 1 - distance : table.high() + 1 + distance;
      if (value < INT32_MIN || value > INT32_MAX) return fail();
      return static_cast<int32_t>(value);
    }
    return fail();
  }

  // All was right and used, but for the zero nibble that may fill the last byte.
  bool finished() const {
    if (wrong_) return false;
    if (at_ == nibbles_) return true;
    return at_ + 1 == nibbles_ && at_ % 2 == 1 && data_[at_ / 2] >> 4 == 0;
  }

 private:
  int32_t fail() {
    wrong_ = true;
    at_ = nibbles_;
    return 0;
  }

  const uint8_t* data_ = nullptr;
  int64_t nibbles_ = 0;
  int64_t at_ = 0;
  bool wrong_ = false;
};

}  // namespace pylatent::rans
