#include <algorithm>
#include <cstring>

#include "rans/lane_kernel.h"

namespace pylatent::rans {
namespace {

uint32_t read_word(const uint8_t* p) { return p[0] | static_cast<uint32_t>(p[1]) << 8; }

struct Bin {
  uint32_t frequency, offset, number;  // offset of the slot in the bin
};

template <bool Direct>
Bin find_bin(const LaneTables& tables, const LaneTable& t, uint32_t slot) {
  if constexpr (Direct) {
    const uint32_t entry = tables.decode[t.first_slot + slot];
    const uint32_t mask = (1u << t.precision) - 1;
    return {entry & mask, entry >> t.precision & mask, entry >> (2 * t.precision)};
  } else {
    const int32_t* cdf = tables.cdf.data() + t.first_cdf;
    const int32_t* above = std::upper_bound(cdf, cdf + t.count + 1, static_cast<int32_t>(slot));
    return {static_cast<uint32_t>(above[0] - above[-1]), slot - above[-1], static_cast<uint32_t>(above - cdf - 1)};
  }
}

// One symbol, without the renormalisation that follows.
template <bool Direct>
uint32_t decode_step(const LaneTables& tables, uint32_t x, const LaneTable& t, EscapeReader& escapes, int32_t& symbol) {
  const uint32_t slot = x & ((1u << t.precision) - 1);
  x >>= t.precision;
  const uint32_t rest_mask = (1u << t.extra) - 1;
  const uint32_t likely = slot - t.likely_start;
  if (likely < t.likely_frequency) {
    x = t.likely_frequency * x + likely;
    symbol = t.likely_low + static_cast<int32_t>(x & rest_mask);
    return x >> t.extra;
  }
  const Bin bin = find_bin<Direct>(tables, t, slot);
  x = bin.frequency * x + bin.offset;
  symbol = static_cast<int32_t>(static_cast<uint32_t>(t.low) + ((bin.number - 1) << t.extra) + (x & rest_mask));
  if (bin.number == 0) symbol = escapes.take(t);
  return x >> t.extra;
}

template <bool Direct>
bool checked(const LaneTables& tables, Decoder& d, const uint16_t* indexes, int32_t* symbols, int64_t n) {
  for (int64_t i = 0, lane = 0; i < n; ++i, lane = lane + 1 == d.lanes ? 0 : lane + 1) {
    uint32_t x = decode_step<Direct>(tables, d.state[lane], tables.rows[indexes[i]], d.escapes, symbols[i]);
    if (x < kLower) {
      if (d.words == d.end) return false;
      x = x << 16 | read_word(d.words);
      d.words += 2;
    }
    d.state[lane] = x;
  }
  return true;
}

template <int Lanes>
int64_t decode_rows(const LaneTables& tables, Decoder& d, const uint16_t* indexes, int32_t* symbols, int64_t rows) {
  uint32_t state[Lanes];
  std::memcpy(state, d.state, sizeof state);
  const uint8_t* words = d.words;
  int64_t done = 0;
  for (; done < rows && d.end - words >= 2 * Lanes; ++done) {
    for (int lane = 0; lane < Lanes; ++lane) {
      uint32_t x = decode_step<true>(tables, state[lane], tables.rows[*indexes++], d.escapes, *symbols++);
      const uint32_t refilled = x << 16 | read_word(words);
      words += x < kLower ? 2 : 0;
      state[lane] = x < kLower ? refilled : x;
    }
  }
  std::memcpy(d.state, state, sizeof state);
  d.words = words;
  return done;
}

int64_t decode_no_rows(const LaneTables&, Decoder&, const uint16_t*, int32_t*, int64_t) { return 0; }

uint32_t encode_step(const LaneTables& tables, uint32_t x, uint16_t index, int32_t symbol, Encoder& e) {
  const LaneTable& t = tables.rows[index];
  uint32_t above = static_cast<uint32_t>(symbol) - static_cast<uint32_t>(t.low);
  uint32_t bin = 0;
  if (symbol >= t.low && above >> t.extra < t.count) {
    bin = (above >> t.extra) + 1;
  } else {
    e.escapes.put(t, symbol);
    above = 0;
  }
  const int32_t* cdf = tables.cdf.data() + t.first_cdf + bin;
  const uint32_t frequency = cdf[1] - cdf[0];
  if (x >= frequency << (32 - t.precision - t.extra)) {
    e.words -= 2;
    e.words[0] = static_cast<uint8_t>(x);
    e.words[1] = static_cast<uint8_t>(x >> 8);
    x >>= 16;
  }
  x = x << t.extra | (above & ((1u << t.extra) - 1));
  return ((x / frequency) << t.precision) + x % frequency + cdf[0];
}

void encode_rows(const LaneTables& tables, Encoder& e, const uint16_t* indexes, const int32_t* symbols, int64_t rows) {
  for (int64_t row = rows - 1; row >= 0; --row) {
    for (int lane = e.lanes - 1; lane >= 0; --lane) {
      const int64_t i = row * e.lanes + lane;
      e.state[lane] = encode_step(tables, e.state[lane], indexes[i], symbols[i], e);
    }
  }
}

}  // namespace

bool decode_checked(const LaneTables& tables, Decoder& decoder, const uint16_t* indexes, int32_t* symbols, int64_t n) {
  return tables.direct() ? checked<true>(tables, decoder, indexes, symbols, n)
                         : checked<false>(tables, decoder, indexes, symbols, n);
}

void encode_last_row(const LaneTables& tables, Encoder& e, const uint16_t* indexes, const int32_t* symbols, int64_t n) {
  for (int64_t lane = n - 1; lane >= 0; --lane) {
    e.state[lane] = encode_step(tables, e.state[lane], indexes[lane], symbols[lane], e);
  }
}

Kernels scalar_kernels(const LaneTables& tables, int lanes) {
  if (!tables.direct()) return {decode_no_rows, encode_rows};
  switch (lanes) {
    case 1:
      return {decode_rows<1>, encode_rows};
    case 2:
      return {decode_rows<2>, encode_rows};
    case 4:
      return {decode_rows<4>, encode_rows};
    case 8:
      return {decode_rows<8>, encode_rows};
    case 16:
      return {decode_rows<16>, encode_rows};
    case 32:
      return {decode_rows<32>, encode_rows};
    default:
      return {decode_rows<64>, encode_rows};
  }
}

}  // namespace pylatent::rans
