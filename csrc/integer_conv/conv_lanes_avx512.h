// The lanes of the kernels for AVX-512, with and without VNNI.
#pragma once

#include <cstring>

#include "common/simd_avx512.h"

namespace pylatent::integers {
namespace {

struct Lanes512 : Avx512 {
  static I load_pairs(const int16_t* p) { return _mm512_loadu_si512(p); }
  static I pair(const int16_t* p) {
    int32_t both;
    std::memcpy(&both, p, sizeof both);
    return _mm512_set1_epi32(both);
  }
  static I multiply(I a, I b) { return _mm512_mullo_epi32(a, b); }
  static I multiply_high(I s, I m) {
    const I half = _mm512_set1_epi64(INT64_C(1) << 31);
    const I even = _mm512_add_epi64(_mm512_mul_epi32(s, m), half);
    const I odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(s, 32), _mm512_srli_epi64(m, 32)), half);
    return _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xaaaa, odd);
  }
  static I by_sign(I s, I a, I b) { return _mm512_mask_mov_epi32(b, _mm512_movepi32_mask(s), a); }
  static I load_short(const int16_t* p) {
    return _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static void store_short(int16_t* p, I x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x));
  }

  using H = __m512i;
  static constexpr int short_width = 32;
  static H load_h(const int16_t* p) { return _mm512_loadu_si512(p); }
  static void store_h(int16_t* p, H x) { _mm512_storeu_si512(p, x); }
  static H set_h(int16_t x) { return _mm512_set1_epi16(x); }
  static H scale_h(H x, H c) { return _mm512_mulhrs_epi16(x, c); }
  static H add_h(H a, H b) { return _mm512_add_epi16(a, b); }
  static H subtract_h(H a, H b) { return _mm512_sub_epi16(a, b); }
};

struct LanesMadd512 : Lanes512 {
  static I dot(I sum, I a, I w) { return add(sum, _mm512_madd_epi16(a, w)); }
};

#ifdef __AVX512VNNI__
struct LanesVnni512 : Lanes512 {
  static I dot(I sum, I a, I w) { return _mm512_dpwssd_epi32(sum, a, w); }
};
#endif

}  // namespace
}  // namespace pylatent::integers
