// The lanes of the kernels that every x86-64 CPU runs.
#pragma once

#include <emmintrin.h>

#include <cstdint>
#include <cstring>

namespace pylatent::exact {
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
};

}  // namespace
}  // namespace pylatent::exact
