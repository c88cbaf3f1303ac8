// The tables of the lane format, laid out for coding. pylatent.coding._lane_tables derives them; docs/format.md defines
// them. Bin 0 is the escape; bin b >= 1 stands for the 2^extra values from low + (b - 1) 2^extra on.
#pragma once

#include <cstdint>
#include <vector>

namespace pylatent::rans {

constexpr int kMinPrecision = 12;
constexpr int kMaxPrecision = 15;
constexpr int kMaxExtra = 4;
constexpr int kEncodeStride = 256;  // entries per table of `encode`: no table has more bins

struct LaneTable {
  int32_t low;
  uint32_t count;       // bins other than the escape, 1 to 2^(32 - 2 precision) - 1
  uint32_t first_slot;  // of this table in `decode`
  uint32_t first_cdf;   // of this table in `cdf`
  uint8_t precision;
  uint8_t extra;  // precision + extra <= 16
  // The bin that takes at least three quarters of the slots, or frequency 0 if none does: worth a test of its own where
  // few lanes make the decoder wait for every look-up.
  uint16_t likely_start;
  uint16_t likely_frequency;
  int32_t likely_low;  // first value of that bin

  // Largest value with a bin; 64 bits wide because low may lie near the limits of int32.
  int64_t high() const { return int64_t{low} + (int64_t{count} << extra) - 1; }
};

struct LaneTables {
  std::vector<LaneTable> rows;
  std::vector<int32_t> cdf;      // 0, ..., 2^precision per table, strictly increasing
  std::vector<uint32_t> encode;  // [table * kEncodeStride + bin]: frequency | start << 16
  std::vector<uint32_t> decode;  // [first_slot + slot]: frequency | (slot - start) << precision | bin << 2 precision
  std::vector<int64_t> entropy;  // expected bits of a symbol, times 2^16

  // For SIMD, one word per table; empty if a table does not fit the fields, and then only the scalar code is used.
  // encode_info: low << 16 | count << 8 | extra << 2 | (precision - 12)
  // decode_info: (low - 2^extra) << 16 | first_slot / 4096 << 5 | extra << 2 | (precision - 12)
  std::vector<uint32_t> encode_info;
  std::vector<uint32_t> decode_info;

  // `decode` and `encode` are left empty when the tables are so many that they would not stay in any cache.
  bool direct() const { return !decode.empty(); }
  bool packed() const { return !decode_info.empty(); }
  int64_t size() const { return static_cast<int64_t>(rows.size()); }
};

// All arrays have k entries, except row (k + 1) and cdf (row[k]). Throws std::invalid_argument on inconsistent ones.
LaneTables make_lane_tables(int64_t k, const int32_t* precision, const int32_t* extra, const int32_t* low,
                            const int32_t* count, const int32_t* row, const int32_t* cdf, int64_t cdf_size,
                            const int64_t* entropy);

}  // namespace pylatent::rans
