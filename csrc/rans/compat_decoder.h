// Decoder of CompressAI's stream. Never reads outside the bytes it was given, whatever they are.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rans/compat_tables.h"

namespace pylatent::compat {

// Reads from borrowed bytes: they must outlive the decoder.
class Decoder {
 public:
  // Throws FormatError unless the length is a multiple of 4, at least 8, and the state lies in [2^31, 2^63).
  Decoder(const uint8_t* bytes, size_t size);

  // Decodes the next n symbols with the tables that indexes[0..n) name. Throws FormatError when the bytes end too early
  // or hold an impossible escape, std::out_of_range for an index that names no table; the position is then unchanged.
  void decode(const int32_t* indexes, size_t n, const Tables& tables, int32_t* symbols);

  // True after the last symbol of an intact stream: the state is back at 2^31 and no word is left.
  bool finished() const { return state_ == kLower && cursor_ == end_; }

  // Throws FormatError unless finished().
  void expect_end() const;

 private:
  uint64_t state_;
  const uint8_t* cursor_;
  const uint8_t* end_;
};

}  // namespace pylatent::compat
