// Encoder of CompressAI's stream. Symbols are put last to first and words are written backwards, so that the decoder
// reads everything forwards.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "rans/compat_tables.h"

namespace pylatent::compat {

// A finished stream: `words` 32-bit words in stream byte order, from `begin` inside `storage`.
struct Stream {
  std::unique_ptr<uint32_t[]> storage;
  const uint32_t* begin = nullptr;
  size_t words = 0;
  size_t bytes() const { return words * kWordBytes; }
};

// Codes symbols[0..n) with the tables indexes[0..n) name. Throws std::out_of_range for an index that names no table and
// std::invalid_argument for a symbol whose escape value does not fit 32 bits. No symbols give the 8 bytes of the state
// L.
Stream encode(const int32_t* symbols, const int32_t* indexes, size_t n, const Tables& tables);

// Collects the symbols of several calls, each with its own tables, for one stream. A call that throws adds nothing.
class BufferedEncoder {
 public:
  void append(const int32_t* symbols, const int32_t* indexes, size_t n, std::shared_ptr<const Tables> tables);
  Stream flush();  // empties the buffer

 private:
  struct Segment {
    std::shared_ptr<const Tables> tables;
    std::vector<uint32_t> ids;  // bin ids in coding order
    std::vector<bool> escaped;  // as long as ids; empty when the segment has no escape
    std::vector<uint32_t> raw;  // one value per escape, in coding order
  };
  std::vector<Segment> segments_;
};

}  // namespace pylatent::compat
