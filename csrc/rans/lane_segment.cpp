#include "rans/lane_segment.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "rans/lane_kernel.h"

namespace pylatent::rans {
namespace {

// Symbols are handled in blocks that stay in the first cache; a whole number of rows for every number of lanes.
constexpr int64_t kBlock = 4096;
constexpr int64_t kKeepScratch = int64_t{16} << 20;

// Copies n indexes and tells whether all lie in [0, tables). Written so that compilers vectorise it for any CPU.
template <class T>
bool narrow(const T* in, uint16_t* out, int64_t n, int32_t tables) {
  uint32_t wrong = 0;  // its sign bit collects that of v (below 0) and of tables - 1 - v (too large)
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t v = static_cast<uint32_t>(static_cast<int32_t>(in[i]));
    wrong |= v | (static_cast<uint32_t>(tables) - 1 - v);
    out[i] = static_cast<uint16_t>(v);
  }
  return wrong >> 31 == 0;
}

bool narrow(const uint8_t* in, uint16_t* out, int64_t n, int32_t tables) {
  uint8_t highest = 0;
  for (int64_t i = 0; i < n; ++i) {
    highest = std::max(highest, in[i]);
    out[i] = in[i];
  }
  return highest < tables;
}

// Copies n indexes from `begin` on; throws if one is not below the number of tables.
void load_indexes(const Array& indexes, int64_t begin, int64_t n, int64_t tables, uint16_t* out) {
  const int32_t k = static_cast<int32_t>(tables);
  bool valid = true;
  switch (indexes.dtype) {
    case Dtype::int32:
      valid = narrow(static_cast<const int32_t*>(indexes.data) + begin, out, n, k);
      break;
    case Dtype::int16:
      valid = narrow(static_cast<const int16_t*>(indexes.data) + begin, out, n, k);
      break;
    case Dtype::uint8:
      valid = narrow(static_cast<const uint8_t*>(indexes.data) + begin, out, n, k);
      break;
  }
  if (valid) return;
  for (int64_t i = begin;; ++i) {
    const int32_t v = element(indexes, i);
    if (v < 0 || v >= tables) throw_index(indexes, i, tables);
  }
}

const int32_t* load_symbols(const Array& symbols, int64_t begin, int64_t n, int32_t* buffer) {
  if (symbols.dtype == Dtype::int32) return static_cast<const int32_t*>(symbols.data) + begin;
  const int16_t* in = static_cast<const int16_t*>(symbols.data) + begin;
  std::copy(in, in + n, buffer);
  return buffer;
}

// Grows and is kept by each thread, so that small streams do not allocate.
uint8_t* scratch(int64_t bytes) {
  struct Buffer {
    std::unique_ptr<uint8_t[]> data;
    int64_t size = 0;
  };
  thread_local Buffer buffer;
  if (buffer.size < bytes || buffer.size > kKeepScratch) {
    buffer.data.reset(new uint8_t[bytes]);
    buffer.size = bytes;
  }
  return buffer.data.get();
}

void store_state(uint8_t* out, uint32_t x) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<uint8_t>(x >> (8 * i));
}

uint32_t load_state(const uint8_t* p) {
  return p[0] | static_cast<uint32_t>(p[1]) << 8 | static_cast<uint32_t>(p[2]) << 16 |
         static_cast<uint32_t>(p[3]) << 24;
}

}  // namespace

int32_t element(const Array& array, int64_t i) {
  switch (array.dtype) {
    case Dtype::int32:
      return static_cast<const int32_t*>(array.data)[i];
    case Dtype::int16:
      return static_cast<const int16_t*>(array.data)[i];
    default:
      return static_cast<const uint8_t*>(array.data)[i];
  }
}

void throw_index(const Array& indexes, int64_t i, int64_t tables) {
  throw IndexProblem("`indexes` must lie in [0, " + std::to_string(tables) + "), got " +
                     std::to_string(element(indexes, i)) + " at position " + std::to_string(i));
}

CodedSegment encode_segment(const LaneTables& tables, const EncodeItem& item, int64_t begin, int64_t end, int lanes) {
  const Kernels kernels = choose_kernels(tables, lanes);
  const int64_t n = end - begin;
  const int64_t room = 4 * lanes + 2 * n + kEncodeSlack;
  uint8_t* const limit = scratch(room) + room;
  Encoder e;
  std::fill(e.state, e.state + lanes, kLower);
  e.lanes = lanes;
  e.words = limit;
  uint16_t indexes[kBlock];
  int32_t buffer[kBlock];
  for (int64_t block = (n - 1) / kBlock * kBlock; block >= 0; block -= kBlock) {
    const int64_t size = std::min(kBlock, n - block);
    load_indexes(item.indexes, begin + block, size, tables.size(), indexes);
    const int32_t* symbols = load_symbols(item.symbols, begin + block, size, buffer);
    const int64_t rows = size / lanes, full = rows * lanes;
    encode_last_row(tables, e, indexes + full, symbols + full, size - full);
    kernels.encode(tables, e, indexes, symbols, rows);
  }
  for (int lane = lanes - 1; lane >= 0; --lane) store_state(e.words -= 4, e.state[lane]);
  return {std::string(reinterpret_cast<char*>(e.words), limit - e.words), e.escapes.bytes()};
}

void decode_segment(const LaneTables& tables, const DecodeItem& item, int64_t begin, int64_t end, int lanes,
                    const uint8_t* coded, int64_t coded_bytes, const uint8_t* escapes, int64_t escape_bytes) {
  if (coded_bytes < 4 * lanes || coded_bytes % 2 != 0) {
    throw FormatProblem("a segment of " + std::to_string(lanes) + " lanes needs " + std::to_string(4 * lanes) +
                        " bytes of states and whole words, got " + std::to_string(coded_bytes) + " bytes");
  }
  const Kernels kernels = choose_kernels(tables, lanes);
  Decoder d;
  d.lanes = lanes;
  for (int lane = 0; lane < lanes; ++lane) {
    d.state[lane] = load_state(coded + 4 * lane);
    if (d.state[lane] < kLower) throw FormatProblem("a lane starts with a state below 65536");
  }
  d.words = coded + 4 * lanes;
  d.end = coded + coded_bytes;
  d.escapes = EscapeReader(escapes, escape_bytes);
  uint16_t indexes[kBlock];
  for (int64_t block = begin; block < end; block += kBlock) {
    const int64_t size = std::min(kBlock, end - block);
    load_indexes(item.indexes, block, size, tables.size(), indexes);
    const int64_t done = kernels.decode(tables, d, indexes, item.symbols + block, size / lanes) * lanes;
    if (!decode_checked(tables, d, indexes + done, item.symbols + block + done, size - done)) {
      throw FormatProblem("the stream ends early, before symbol " + std::to_string(block + size) + " of " +
                          std::to_string(item.size));
    }
  }
  const bool home = std::all_of(d.state, d.state + lanes, [](uint32_t x) { return x == kLower; });
  if (!home || d.words != d.end) {
    throw FormatProblem("the last states or the length are wrong: the stream is damaged, or of another model");
  }
  if (!d.escapes.finished()) throw FormatProblem("the escaped symbols are damaged");
}

}  // namespace pylatent::rans
