// Constants and small helpers of CompressAI's rANS stream: one 64-bit state, 32-bit little-endian words, 16-bit
// probabilities, escapes in 4-bit units. The stream is [low(x), high(x), words], everything read forwards.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

namespace pylatent::compat {

constexpr int kPrecision = 16;
constexpr uint32_t kTotal = 1u << kPrecision;
constexpr uint64_t kLower = uint64_t{1} << 31;  // the normalised state lies in [2^31, 2^63)
constexpr int kUnitBits = 4;
constexpr uint32_t kUnitMax = 15;
constexpr uint32_t kMaxNibbles = 8;  // an escape carries an unsigned 32-bit value
constexpr size_t kWordBytes = 4;
constexpr size_t kMinBytes = 8;

// The bytes are not a stream that an encoder with these tables and indexes could have written.
struct FormatError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline uint32_t little_endian(uint32_t word) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  return __builtin_bswap32(word);
#else
  return word;
#endif
}

inline uint32_t load_word(const uint8_t* bytes) {  // streams may start at any address
  uint32_t word;
  std::memcpy(&word, bytes, sizeof word);
  return little_endian(word);
}

inline uint64_t multiply_high(uint64_t a, uint64_t b) {
#if defined(_MSC_VER) && !defined(__clang__)
  return __umulh(a, b);
#else
  __extension__ typedef unsigned __int128 uint128;
  return static_cast<uint64_t>((static_cast<uint128>(a) * b) >> 64);
#endif
}

}  // namespace pylatent::compat
