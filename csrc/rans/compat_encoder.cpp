#include "rans/compat_encoder.h"

#include <algorithm>

namespace pylatent::compat {
namespace {

[[noreturn]] void reject_index(size_t i, int32_t index, int64_t count) {
  throw std::out_of_range("`indexes[" + std::to_string(i) + "]` must be in [0, " + std::to_string(count) +
                          "), the number of tables, got " + std::to_string(index));
}

// Value of the escape for a symbol that lies `v` bins from bin 0, outside [0, escape): odd below, even above.
uint32_t escape_value(int64_t v, int32_t escape, size_t i, int32_t symbol) {
  const int64_t raw = v < 0 ? -2 * v - 1 : 2 * (v - escape);
  if (raw >= int64_t{1} << 32) {
    throw std::invalid_argument("`symbols[" + std::to_string(i) + "]` lies too far outside its table: the escape of " +
                                std::to_string(symbol) + " needs more than 32 bits");
  }
  return static_cast<uint32_t>(raw);
}

// Words grow downwards from `end`. A symbol writes at most one word and an escape at most kEscapeWords more, so the hot
// loops need no check as long as reserve() has been told how many symbols are still to come.
class Writer {
 public:
  static constexpr size_t kEscapeWords = 1 + kMaxNibbles;
  static constexpr size_t kFlushWords = 2;

  explicit Writer(size_t symbols) : capacity_(symbols + kFlushWords), storage_(new uint32_t[capacity_]) {
    cursor = storage_.get() + capacity_;
  }

  uint64_t state = kLower;
  uint32_t* cursor;

  void reserve(size_t symbols) {
    const size_t free = static_cast<size_t>(cursor - storage_.get());
    const size_t needed = symbols + kEscapeWords + kFlushWords;
    if (free >= needed) return;
    const size_t used = capacity_ - free;
    const size_t capacity = used + needed + used / 2 + 64;
    std::unique_ptr<uint32_t[]> storage(new uint32_t[capacity]);
    std::copy(cursor, cursor + used, storage.get() + capacity - used);
    storage_ = std::move(storage);
    capacity_ = capacity;
    cursor = storage_.get() + capacity - used;
  }

  // The count of nibbles (one unit: it is at most 8), then the nibbles of `raw`, least significant first.
  void put_escape(uint32_t raw) {
    uint32_t nibbles = 0;
    while (nibbles < kMaxNibbles && (raw >> (kUnitBits * nibbles)) != 0) ++nibbles;
    for (uint32_t j = nibbles; j-- > 0;) put_unit((raw >> (kUnitBits * j)) & kUnitMax);
    put_unit(nibbles);
  }

  Stream finish() {
    *--cursor = little_endian(static_cast<uint32_t>(state >> 32));
    *--cursor = little_endian(static_cast<uint32_t>(state));
    const size_t words = capacity_ - static_cast<size_t>(cursor - storage_.get());
    return {std::move(storage_), cursor, words};
  }

 private:
  void put_unit(uint32_t value) {
    if (state >= uint64_t{1} << (63 - kUnitBits)) {
      *--cursor = little_endian(static_cast<uint32_t>(state));
      state >>= 32;
    }
    state = (state << kUnitBits) + value;
  }

  size_t capacity_;
  std::unique_ptr<uint32_t[]> storage_;
};

inline void put(uint64_t& state, uint32_t*& cursor, const Step& step) {
  if (state >= static_cast<uint64_t>(step.frequency) << 47) {
    *--cursor = little_endian(static_cast<uint32_t>(state));
    state >>= 32;
  }
  const uint64_t quotient = multiply_high(state, step.reciprocal) >> step.shift;
  state += step.bias + quotient * (kTotal - step.frequency);
}

}  // namespace

Stream encode(const int32_t* symbols, const int32_t* indexes, size_t n, const Tables& tables) {
  Writer writer(n);
  const Step* const steps = tables.steps();
  const Table* const rows = tables.tables();
  const uint64_t count = static_cast<uint64_t>(tables.count());
  uint64_t state = writer.state;  // kept in registers; the writer gets them back where it is called
  uint32_t* cursor = writer.cursor;
  for (size_t i = n; i-- > 0;) {
    const int32_t index = indexes[i];
    if (static_cast<uint32_t>(index) >= count) reject_index(i, index, tables.count());
    const Table& table = rows[index];
    const int32_t symbol = symbols[i];
    int64_t bin = static_cast<int64_t>(symbol) - table.offset;
    if (static_cast<uint64_t>(bin) >= static_cast<uint64_t>(table.escape)) {
      const uint32_t raw = escape_value(bin, table.escape, i, symbol);
      writer.state = state;
      writer.cursor = cursor;
      writer.reserve(i + 1);
      writer.put_escape(raw);
      state = writer.state;
      cursor = writer.cursor;
      bin = table.escape;
    }
    const uint32_t id = table.first + static_cast<uint32_t>(bin);
    if (steps) {
      put(state, cursor, steps[id]);
    } else {
      put(state, cursor, make_step(tables.start(id), tables.frequency(id)));
    }
  }
  writer.state = state;
  writer.cursor = cursor;
  return writer.finish();
}

void BufferedEncoder::append(const int32_t* symbols, const int32_t* indexes, size_t n,
                             std::shared_ptr<const Tables> tables) {
  if (n == 0) return;
  Segment segment;
  segment.ids.resize(n);
  for (size_t i = 0; i < n; ++i) {
    const int32_t index = indexes[i];
    if (index < 0 || index >= tables->count()) reject_index(i, index, tables->count());
    const Table& table = tables->tables()[index];
    int64_t bin = static_cast<int64_t>(symbols[i]) - table.offset;
    if (bin < 0 || bin >= table.escape) {
      segment.raw.push_back(escape_value(bin, table.escape, i, symbols[i]));
      segment.escaped.resize(n);
      segment.escaped[i] = true;
      bin = table.escape;
    }
    segment.ids[i] = table.first + static_cast<uint32_t>(bin);
  }
  segment.tables = std::move(tables);
  segments_.push_back(std::move(segment));
}

Stream BufferedEncoder::flush() {
  size_t left = 0;
  for (const Segment& segment : segments_) left += segment.ids.size();
  Writer writer(left);
  for (auto segment = segments_.rbegin(); segment != segments_.rend(); ++segment) {
    const Tables& tables = *segment->tables;
    const Step* const steps = tables.steps();
    size_t escapes = segment->raw.size();
    for (size_t i = segment->ids.size(); i-- > 0; --left) {
      if (escapes > 0 && segment->escaped[i]) {
        writer.reserve(left);
        writer.put_escape(segment->raw[--escapes]);
      }
      const uint32_t id = segment->ids[i];
      put(writer.state, writer.cursor, steps ? steps[id] : make_step(tables.start(id), tables.frequency(id)));
    }
  }
  segments_.clear();
  return writer.finish();
}

}  // namespace pylatent::compat
