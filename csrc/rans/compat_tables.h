// CDF tables in CompressAI's meaning, checked once and prepared for coding.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "rans/compat_format.h"

namespace pylatent::compat {

// Puts a bin of interval [start, start + frequency) into the state x < frequency * 2^47:
//   q = floor(x / frequency) = multiply_high(x, reciprocal) >> shift   (exact; one less for frequency 1, see make_step)
//   x' = q * 2^16 + (x - q * frequency) + start = x + bias + q * (2^16 - frequency)
struct Step {
  uint64_t reciprocal;
  uint32_t bias;
  uint16_t frequency;  // < 2^16: a table has at least two bins
  uint16_t shift;
};

Step make_step(uint32_t start, uint32_t frequency);

struct Slot {  // interval of the first bin that reaches into one 256th of [0, 2^16)
  uint16_t start;
  uint16_t frequency;
};
constexpr int kSlotShift = 8;
constexpr int kSlots = 1 << (kPrecision - kSlotShift);

struct Table {
  uint32_t first;  // id of bin 0; ids are positions in Tables::last, where an entry 2^16 - 1 stands before bin 0
  int32_t escape;  // the last bin, which announces an escape; bins 0 .. escape - 1 are symbols
  int32_t offset;  // symbol = bin + offset
};

class Tables {
 public:
  // Row k holds values[row_begin[k] .. row_begin[k + 1]), of which the first sizes[k] count. Throws
  // std::invalid_argument unless 3 <= size <= row, the CDF starts at 0, increases strictly and ends at 2^16, and every
  // symbol fits an int32.
  Tables(const int32_t* values, const int64_t* row_begin, const int32_t* sizes, const int32_t* offsets, int64_t rows);
  Tables(const Tables&) = delete;

  int64_t count() const { return static_cast<int64_t>(tables_.size()); }
  const Table* tables() const { return tables_.data(); }

  // Last slot of every bin, inclusive: 16 bits suffice, and the start of a bin is the entry before it plus 1, mod 2^16.
  const uint16_t* last() const { return last_.data(); }
  uint32_t start(uint32_t id) const { return static_cast<uint16_t>(last_[id - 1] + 1); }
  uint32_t frequency(uint32_t id) const { return static_cast<uint16_t>(last_[id] - last_[id - 1]); }

  // Coding steps by bin id, built at the first use; null when there are too many tables to expand.
  const Step* steps() const;
  // kSlots slots and first bins per table, built at the first use; null when there are too many tables to expand.
  const Slot* slots() const;
  const uint16_t* slot_bins() const { return slot_bins_.data(); }  // valid after slots()

 private:
  void append_row(int64_t k, const int32_t* row, int64_t width, int32_t size, int32_t offset);

  std::vector<Table> tables_;
  std::vector<uint16_t> last_;
  mutable std::once_flag steps_once_, slots_once_;
  mutable std::vector<Step> steps_;
  mutable std::vector<Slot> slots_;
  mutable std::vector<uint16_t> slot_bins_;
};

}  // namespace pylatent::compat
