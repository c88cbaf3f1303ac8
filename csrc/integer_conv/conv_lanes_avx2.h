// The lanes of the kernels for AVX2, with and without VNNI.
#pragma once

#include <cstring>

#include "common/simd_avx2.h"

namespace pylatent::integers {
namespace {

struct Lanes256 : Avx2 {
  static I load_pairs(const int16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static I pair(const int16_t* p) {
    int32_t both;
    std::memcpy(&both, p, sizeof both);
    return _mm256_set1_epi32(both);
  }
  static I dot(I sum, I a, I w) { return add(sum, _mm256_madd_epi16(a, w)); }
  static I multiply(I a, I b) { return _mm256_mullo_epi32(a, b); }
  static I multiply_high(I s, I m) {
    const I half = _mm256_set1_epi64x(INT64_C(1) << 31);
    const I even = _mm256_add_epi64(_mm256_mul_epi32(s, m), half);
    const I odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(s, 32), _mm256_srli_epi64(m, 32)), half);
    return _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  }
  static I by_sign(I s, I a, I b) { return _mm256_blendv_epi8(b, a, _mm256_srai_epi32(s, 31)); }
  static I load_short(const int16_t* p) {
    return _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static void store_short(int16_t* p, I x) {
    const __m128i low = _mm256_castsi256_si128(x), high = _mm256_extracti128_si256(x, 1);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packs_epi32(low, high));
  }

  using H = __m256i;
  static constexpr int short_width = 16;
  static H load_h(const int16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store_h(int16_t* p, H x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
  static H set_h(int16_t x) { return _mm256_set1_epi16(x); }
  static H scale_h(H x, H c) { return _mm256_mulhrs_epi16(x, c); }
  static H add_h(H a, H b) { return _mm256_add_epi16(a, b); }
  static H subtract_h(H a, H b) { return _mm256_sub_epi16(a, b); }
};

#if defined(__AVXVNNI__)
struct LanesVnni256 : Lanes256 {
  static I dot(I sum, I a, I w) { return _mm256_dpwssd_avx_epi32(sum, a, w); }
};
#elif defined(__AVX512VNNI__) && defined(__AVX512VL__)
struct LanesVnni256 : Lanes256 {
  static I dot(I sum, I a, I w) { return _mm256_dpwssd_epi32(sum, a, w); }
};
#endif

}  // namespace
}  // namespace pylatent::integers
