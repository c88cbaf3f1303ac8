// The lanes of the kernels for AVX-512; D gives the products.
#pragma once

#include "exact_conv/exact_lanes_avx512.h"

namespace pylatent::integers {
namespace {

template <class D>
struct Lanes512 : D {
  using I = __m512i;
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
  static H add_h(H a, H b) { return _mm512_add_epi16(a, b); }
  static H subtract_h(H a, H b) { return _mm512_sub_epi16(a, b); }
};

}  // namespace
}  // namespace pylatent::integers
