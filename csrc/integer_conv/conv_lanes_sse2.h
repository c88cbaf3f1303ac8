// The lanes of the kernels that every x86-64 CPU runs.
#pragma once

#include <emmintrin.h>

#include <cstdint>
#include <cstring>

namespace pylatent::integers {
namespace {

// Four lanes; only the integer operations that the kernels need.
struct Lanes128 {
  using I = __m128i;
  static constexpr int width = 4;

  static I set_int(int32_t x) { return _mm_set1_epi32(x); }
  static I load(const int32_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static void store(int32_t* p, I x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x); }
  static I load_pairs(const int16_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static I pair(const int16_t* p) {
    int32_t both;
    std::memcpy(&both, p, sizeof both);
    return _mm_set1_epi32(both);
  }
  static I dot(I sum, I a, I w) { return _mm_add_epi32(sum, _mm_madd_epi16(a, w)); }
  static I add(I a, I b) { return _mm_add_epi32(a, b); }
  static I subtract(I a, I b) { return _mm_sub_epi32(a, b); }
  static I bit_and(I a, I b) { return _mm_and_si128(a, b); }
  static I select(I mask, I a, I b) { return _mm_or_si128(_mm_and_si128(mask, a), _mm_andnot_si128(mask, b)); }
  static I min(I a, I b) { return select(_mm_cmpgt_epi32(a, b), b, a); }
  static I max(I a, I b) { return select(_mm_cmpgt_epi32(a, b), a, b); }
  template <int N>
  static I shift_right(I a) {
    return _mm_srai_epi32(a, N);
  }
  static I multiply(I a, I b) {
    const I even = _mm_shuffle_epi32(_mm_mul_epu32(a, b), _MM_SHUFFLE(3, 1, 2, 0));
    const I odd =
        _mm_shuffle_epi32(_mm_mul_epu32(_mm_srli_epi64(a, 32), _mm_srli_epi64(b, 32)), _MM_SHUFFLE(3, 1, 2, 0));
    return _mm_unpacklo_epi32(even, odd);
  }
  static I multiply_high(I s, I m) {
    // Products without a sign; that of a negative s is 2^32 m too large.
    const I half = _mm_set1_epi64x(INT64_C(1) << 31);
    const I even = _mm_add_epi64(_mm_mul_epu32(s, m), half);
    const I odd = _mm_add_epi64(_mm_mul_epu32(_mm_srli_epi64(s, 32), _mm_srli_epi64(m, 32)), half);
    const I both = _mm_or_si128(_mm_srli_epi64(even, 32), _mm_slli_epi64(_mm_srli_epi64(odd, 32), 32));
    return subtract(both, bit_and(_mm_srai_epi32(s, 31), m));
  }
  static I by_sign(I s, I a, I b) { return select(_mm_srai_epi32(s, 31), a, b); }
  static I load_short(const int16_t* p) {
    const I x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm_srai_epi32(_mm_unpacklo_epi16(x, x), 16);
  }
  static void store_short(int16_t* p, I x) { _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi32(x, x)); }

  using H = __m128i;
  static constexpr int short_width = 8;
  static H load_h(const int16_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static void store_h(int16_t* p, H x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x); }
  static H set_h(int16_t x) { return _mm_set1_epi16(x); }
  static H scale_h(H x, H c) {
    const H low = _mm_mullo_epi16(x, c), high = _mm_slli_epi16(_mm_mulhi_epi16(x, c), 1);
    const H half = _mm_and_si128(_mm_srli_epi16(low, 14), _mm_set1_epi16(1));
    return _mm_add_epi16(_mm_or_si128(high, _mm_srli_epi16(low, 15)), half);
  }
  static H add_h(H a, H b) { return _mm_add_epi16(a, b); }
  static H subtract_h(H a, H b) { return _mm_sub_epi16(a, b); }
};

}  // namespace
}  // namespace pylatent::integers
