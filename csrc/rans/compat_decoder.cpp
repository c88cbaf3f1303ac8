#include "rans/compat_decoder.h"

#include <algorithm>
#include <limits>

namespace pylatent::compat {
namespace {

std::string at(size_t i, size_t n) { return " at symbol " + std::to_string(i) + " of " + std::to_string(n); }

[[noreturn]] void reject_end(size_t i, size_t n) { throw FormatError("the stream ends" + at(i, n)); }

struct Reader {
  uint64_t state;
  const uint8_t* cursor;
  const uint8_t* end;

  uint32_t unit(size_t i, size_t n) {
    const uint32_t value = static_cast<uint32_t>(state) & kUnitMax;
    state >>= kUnitBits;
    if (state < kLower) {
      if (cursor == end) reject_end(i, n);
      state = (state << 32) | load_word(cursor);
      cursor += kWordBytes;
    }
    return value;
  }

  // Symbol i of n, whose table announced an escape.
  int32_t escaped(const Table& table, size_t i, size_t n) {
    const uint32_t nibbles = unit(i, n);
    if (nibbles > kMaxNibbles) {
      throw FormatError("an escape of more than 8 nibbles" + at(i, n));
    }
    uint32_t raw = 0;
    for (uint32_t j = 0; j < nibbles; ++j) raw |= unit(i, n) << (kUnitBits * j);
    const int64_t half = raw >> 1;
    const int64_t symbol = ((raw & 1) ? -half - 1 : half + table.escape) + table.offset;
    if (symbol < std::numeric_limits<int32_t>::min() || symbol > std::numeric_limits<int32_t>::max()) {
      throw FormatError("an escape beyond the range of int32" + at(i, n));
    }
    return static_cast<int32_t>(symbol);
  }
};

}  // namespace

Decoder::Decoder(const uint8_t* bytes, size_t size) {
  if (size < kMinBytes || size % kWordBytes != 0) {
    throw FormatError("a stream has at least 8 bytes and a multiple of 4, got " + std::to_string(size));
  }
  state_ = load_word(bytes) | (static_cast<uint64_t>(load_word(bytes + kWordBytes)) << 32);
  if (state_ < kLower || state_ >> 63 != 0) {
    throw FormatError("the stream starts with an impossible coder state (outside [2^31, 2^63))");
  }
  cursor_ = bytes + kMinBytes;
  end_ = bytes + size;
}

void Decoder::decode(const int32_t* indexes, size_t n, const Tables& tables, int32_t* symbols) {
  const Table* const rows = tables.tables();
  const uint16_t* const last = tables.last();
  const Slot* const slots = tables.slots();
  const uint16_t* const bins = tables.slot_bins();
  const uint64_t count = static_cast<uint64_t>(tables.count());
  uint64_t state = state_;
  const uint8_t* cursor = cursor_;
  const uint8_t* const end = end_;
  for (size_t i = 0; i < n; ++i) {
    const int32_t index = indexes[i];
    if (static_cast<uint32_t>(index) >= count) {
      throw std::out_of_range("`indexes[" + std::to_string(i) + "]` must be in [0, " + std::to_string(count) +
                              "), the number of tables, got " + std::to_string(index));
    }
    const Table& table = rows[index];
    const uint32_t target = static_cast<uint32_t>(state) & (kTotal - 1);
    uint32_t bin, frequency, rest;
    if (slots) {
      // Most often the first bin of the slot is the right one; the dependent chain is then one load and one product.
      const size_t s = static_cast<size_t>(index) * kSlots + (target >> kSlotShift);
      frequency = slots[s].frequency;
      rest = target - slots[s].start;
      bin = bins[s];
      if (rest >= frequency) {
        const uint16_t* row = last + table.first;
        do ++bin;
        while (row[bin] < target);  // ends: the last entry of a row is 2^16 - 1
        frequency = tables.frequency(table.first + bin);
        rest = target - tables.start(table.first + bin);
      }
    } else {
      const uint16_t* row = last + table.first;
      bin = static_cast<uint32_t>(std::lower_bound(row, row + table.escape, target) - row);
      frequency = tables.frequency(table.first + bin);
      rest = target - tables.start(table.first + bin);
    }
    state = frequency * (state >> kPrecision) + rest;
    if (state < kLower) {
      if (cursor == end) reject_end(i, n);
      state = (state << 32) | load_word(cursor);
      cursor += kWordBytes;
    }
    if (bin == static_cast<uint32_t>(table.escape)) {
      Reader reader{state, cursor, end};
      symbols[i] = reader.escaped(table, i, n);
      state = reader.state;
      cursor = reader.cursor;
    } else {
      symbols[i] = static_cast<int32_t>(bin) + table.offset;
    }
  }
  state_ = state;
  cursor_ = cursor;
}

void Decoder::expect_end() const {
  if (cursor_ != end_) {
    throw FormatError(std::to_string(end_ - cursor_) + " bytes are left after the last symbol");
  }
  if (state_ != kLower) {
    throw FormatError(
        "the coder state after the last symbol is wrong: the bytes are damaged, or were written with other " +
        std::string("tables or indexes"));
  }
}

}  // namespace pylatent::compat
