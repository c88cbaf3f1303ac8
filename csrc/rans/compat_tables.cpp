#include "rans/compat_tables.h"

#include <limits>

namespace pylatent::compat {
namespace {

// Mixture models use one table per symbol: expanding those would cost more than it saves, so they are searched instead.
constexpr size_t kMaxExpanded = 1024;

[[noreturn]] void reject(const std::string& what) { throw std::invalid_argument(what); }

std::string item(const char* name, int64_t k) { return std::string("`") + name + "[" + std::to_string(k) + "]`"; }

}  // namespace

// With 2^shift < f <= 2^(shift + 1) the reciprocal ceil(2^(64 + shift) / f) fits 64 bits, and its excess e < f gives
// x * e < 2^63 * 2^(shift + 1), so the quotient is exact for every x < 2^63. For f = 1 the reciprocal 2^64 - 1 yields
// x - 1, which the bias makes up for: x + start + (2^16 - 1) + (x - 1)(2^16 - 1) = x * 2^16 + start.
Step make_step(uint32_t start, uint32_t f) {
  if (f == 1) return {~uint64_t{0}, start + kTotal - 1, 1, 0};
  uint32_t shift = 0;
  while (f > (uint32_t{2} << shift)) ++shift;
  // Long division of 2^(64 + shift) - 1 by f in 32-bit digits; its first digit, 2^shift - 1, is below f.
  uint64_t rest = (((uint64_t{1} << shift) - 1) << 32) | 0xffffffffu;
  const uint64_t high = rest / f;
  rest = ((rest % f) << 32) | 0xffffffffu;
  const uint64_t reciprocal = ((high << 32) | (rest / f)) + 1;
  return {reciprocal, start, static_cast<uint16_t>(f), static_cast<uint16_t>(shift)};
}

Tables::Tables(const int32_t* values, const int64_t* row_begin, const int32_t* sizes, const int32_t* offsets,
               int64_t rows) {
  if (rows < 1) reject("`cdfs` must hold at least one table, got none");
  tables_.reserve(static_cast<size_t>(rows));
  for (int64_t k = 0; k < rows; ++k) {
    append_row(k, values + row_begin[k], row_begin[k + 1] - row_begin[k], sizes[k], offsets[k]);
  }
}

void Tables::append_row(int64_t k, const int32_t* row, int64_t width, int32_t size, int32_t offset) {
  if (size < 3 || size > width) {
    reject(item("cdfs_sizes", k) +
           " must be at least 3 (a symbol, the escape and the leading 0) and at most the length of the row (" +
           std::to_string(width) + "), got " + std::to_string(size));
  }
  if (row[0] != 0) reject(item("cdfs", k) + " must start at 0, got " + std::to_string(row[0]));
  if (row[size - 1] != static_cast<int32_t>(kTotal)) {
    reject(item("cdfs", k) + " must end at 65536 (the coder's precision is 16 bits), got " +
           std::to_string(row[size - 1]) + " at position " + std::to_string(size - 1));
  }
  const int32_t escape = size - 2;
  if (offset > std::numeric_limits<int32_t>::max() - escape) {
    reject(item("offsets", k) + " must leave every symbol within int32, got " + std::to_string(offset));
  }
  if (last_.size() + static_cast<size_t>(size) > std::numeric_limits<uint32_t>::max()) {
    reject("`cdfs` must hold fewer than 2^32 entries");
  }
  last_.push_back(0xffff);
  tables_.push_back({static_cast<uint32_t>(last_.size()), escape, offset});
  for (int32_t j = 1; j < size; ++j) {
    if (row[j] <= row[j - 1]) {
      reject(item("cdfs", k) + " must increase strictly, got " + std::to_string(row[j - 1]) + " and then " +
             std::to_string(row[j]) + " at position " + std::to_string(j));
    }
    last_.push_back(static_cast<uint16_t>(row[j] - 1));
  }
}

const Step* Tables::steps() const {
  if (tables_.size() > kMaxExpanded) return nullptr;
  std::call_once(steps_once_, [this] {
    steps_.resize(last_.size());
    for (const Table& table : tables_) {
      for (uint32_t id = table.first; id <= table.first + static_cast<uint32_t>(table.escape); ++id) {
        steps_[id] = make_step(start(id), frequency(id));
      }
    }
  });
  return steps_.data();
}

const Slot* Tables::slots() const {
  if (tables_.size() > kMaxExpanded) return nullptr;
  std::call_once(slots_once_, [this] {
    slots_.resize(tables_.size() * kSlots);
    slot_bins_.resize(slots_.size());
    for (size_t k = 0; k < tables_.size(); ++k) {
      uint32_t id = tables_[k].first;
      for (uint32_t s = 0; s < kSlots; ++s) {
        while (last_[id] < (s << kSlotShift)) ++id;
        slots_[k * kSlots + s] = {static_cast<uint16_t>(start(id)), static_cast<uint16_t>(frequency(id))};
        slot_bins_[k * kSlots + s] = static_cast<uint16_t>(id - tables_[k].first);
      }
    }
  });
  return slots_.data();
}

}  // namespace pylatent::compat
