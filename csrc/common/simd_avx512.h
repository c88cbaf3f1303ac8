// The SIMD policy of 16 lanes (simd_scalar.h), for files compiled for AVX-512 F, BW, DQ and VL.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "common/half.h"
#include "common/simd_math.h"

namespace pylatent {
namespace {

struct Avx512 {
  using F = __m512;
  using I = __m512i;
  using M = __mmask16;
  static constexpr int width = 16;

  static F set(float x) { return _mm512_set1_ps(x); }
  static I set_int(int32_t x) { return _mm512_set1_epi32(x); }

  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static F load(const bf16* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_half(p)), 16));
  }
  static F load(const f16* p) { return _mm512_cvtph_ps(load_half(p)); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static void store(bf16* p, F x) {
    const I bits = _mm512_castps_si512(x);
    const I odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), set_int(1));
    I rounded = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, set_int(0x7fff)), odd), 16);
    rounded = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), set_int(0x7fc0));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(rounded));
  }
  static void store(f16* p, F x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }

  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F abs(F a) { return _mm512_abs_ps(a); }
  static F with_sign(F magnitude, F sign) {
    return _mm512_castsi512_ps(
        _mm512_ternarylogic_epi32(_mm512_castps_si512(magnitude), _mm512_castps_si512(sign), set_int(INT32_MIN), 0xd8));
  }
  static F round(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F floor(F a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
  static F sqrt(F a) { return _mm512_sqrt_ps(a); }
  static F divide(F a, F b) { return a / b; }
  static M less(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static M not_less(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ); }
  static M equal(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
  static M both(M a, M b) { return a & b; }
  static F select(M mask, F a, F b) { return _mm512_mask_mov_ps(b, mask, a); }

  static I bits(F a) { return _mm512_castps_si512(a); }
  static F from_bits(I a) { return _mm512_castsi512_ps(a); }
  static F from_int(I a) { return _mm512_cvtepi32_ps(a); }
  static I add(I a, I b) { return _mm512_add_epi32(a, b); }
  static I subtract(I a, I b) { return _mm512_sub_epi32(a, b); }
  static I bit_and(I a, I b) { return _mm512_and_si512(a, b); }
  static I min(I a, I b) { return _mm512_min_epi32(a, b); }
  static I max(I a, I b) { return _mm512_max_epi32(a, b); }
  template <int N>
  static I shift_right(I a) {
    return _mm512_srai_epi32(a, N);
  }
  template <int N>
  static I shift_right_logical(I a) {
    return _mm512_srli_epi32(a, N);
  }
  static F scale(F x, F n) { return _mm512_scalef_ps(x, n); }
  static F exp(F x) { return simd::exp<Avx512>(x); }
  static F log(F x) { return simd::log<Avx512>(x); }

 private:
  static __m256i load_half(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
};

}  // namespace
}  // namespace pylatent
