// The inner loops of the lane format and what they work on. Each runs over whole rows of `lanes` symbols; all variants
// compute the same numbers.
#pragma once

#include <cstdint>

#include "rans/lane_escape.h"
#include "rans/lane_tables.h"

namespace pylatent::rans {

constexpr int kMaxLanes = 64;
constexpr int64_t kEncodeSlack = 64;  // bytes below the last possible word that a kernel may overwrite
constexpr uint32_t kLower = 1 << 16;  // states lie in [kLower, 2^32)

struct Decoder {
  uint32_t state[kMaxLanes];
  int lanes;
  const uint8_t* words;  // next word to read
  const uint8_t* end;    // of the words; a whole number of them remains
  EscapeReader escapes;
};

struct Encoder {
  uint32_t state[kMaxLanes];
  int lanes;
  uint8_t* words;  // the word written last; the next goes below it. There is room for one word per symbol.
  EscapeWriter escapes;
};

// Decodes rows from the first on, while at least `lanes` words remain, and returns how many it did. Indexes are valid.
using DecodeRows = int64_t (*)(const LaneTables&, Decoder&, const uint16_t* indexes, int32_t* symbols, int64_t rows);
// Encodes `rows` rows from the last to the first. Indexes are valid.
using EncodeRows = void (*)(const LaneTables&, Encoder&, const uint16_t* indexes, const int32_t* symbols, int64_t rows);

struct Kernels {
  DecodeRows decode;
  EncodeRows encode;
};

// The fastest kernels for this machine, these tables and this number of lanes.
Kernels choose_kernels(const LaneTables& tables, int lanes);

Kernels scalar_kernels(const LaneTables& tables, int lanes);
// For packed tables and at least 8 and 16 lanes.
Kernels avx2_kernels(const LaneTables& tables, int lanes);
Kernels avx512_kernels(const LaneTables& tables, int lanes);

// Symbols one at a time, checking the words that remain: false if they run out. For whatever the kernels leave.
bool decode_checked(const LaneTables& tables, Decoder& decoder, const uint16_t* indexes, int32_t* symbols, int64_t n);
// The n < lanes symbols of the last row.
void encode_last_row(const LaneTables& tables, Encoder& encoder, const uint16_t* indexes, const int32_t* symbols,
                     int64_t n);

}  // namespace pylatent::rans
