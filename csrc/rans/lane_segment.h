// One segment of a stream: states, words and escapes of consecutive symbols.
#pragma once

#include <cstdint>
#include <string>

#include "rans/lane_stream.h"
#include "rans/lane_tables.h"

namespace pylatent::rans {

struct CodedSegment {
  std::string coded;    // states and words
  std::string escapes;  // may be empty
};

// Symbols [begin, end) of the item, end > begin.
CodedSegment encode_segment(const LaneTables& tables, const EncodeItem& item, int64_t begin, int64_t end, int lanes);

void decode_segment(const LaneTables& tables, const DecodeItem& item, int64_t begin, int64_t end, int lanes,
                    const uint8_t* coded, int64_t coded_bytes, const uint8_t* escapes, int64_t escape_bytes);

// Element i of an index array, and the error for one that is out of range.
int32_t element(const Array& array, int64_t i);
[[noreturn]] void throw_index(const Array& indexes, int64_t i, int64_t tables);

}  // namespace pylatent::rans
