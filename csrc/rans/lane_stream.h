// Whole streams of the lane format: header, segments, threads. docs/format.md has the byte tables.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "rans/lane_tables.h"

namespace pylatent::rans {

// The bytes are not a valid stream.
struct FormatProblem : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A table index is out of range.
struct IndexProblem : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Dtype { int32 = 0, int16 = 1, uint8 = 2 };

struct Array {
  const void* data;
  Dtype dtype;
};

struct EncodeItem {
  Array symbols;  // int32 or int16
  Array indexes;
  int64_t size;
};

struct DecodeItem {
  const uint8_t* data;
  int64_t bytes;
  Array indexes;
  int32_t* symbols;
  int64_t size;
};

// The pieces of one stream, to be concatenated.
using Pieces = std::vector<std::string>;

std::vector<Pieces> encode_streams(const LaneTables& tables, const std::vector<EncodeItem>& items, int threads);

// Throws FormatProblem or IndexProblem for the first item that has one; other items may then be decoded or not.
void decode_streams(const LaneTables& tables, const std::vector<DecodeItem>& items, int threads);

}  // namespace pylatent::rans
