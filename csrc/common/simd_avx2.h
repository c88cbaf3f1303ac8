// The SIMD policy of 8 lanes (simd_scalar.h), for files compiled for AVX2, FMA and F16C.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "common/half.h"
#include "common/simd_math.h"

namespace pylatent {
namespace {

struct Avx2 {
  using F = __m256;
  using I = __m256i;
  using M = __m256;
  static constexpr int width = 8;

  static F set(float x) { return _mm256_set1_ps(x); }
  static I set_int(int32_t x) { return _mm256_set1_epi32(x); }

  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static I load(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static F load(const bf16* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_half(p)), 16));
  }
  static F load(const f16* p) { return _mm256_cvtph_ps(load_half(p)); }
  static void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static void store(int32_t* p, I x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
  static void store(bf16* p, F x) {
    const I bits = _mm256_castps_si256(x);
    const I odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), set_int(1));
    I rounded = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, set_int(0x7fff)), odd), 16);
    const I nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    rounded = _mm256_blendv_epi8(rounded, set_int(0x7fc0), nan);
    const __m128i low = _mm256_castsi256_si128(rounded), high = _mm256_extracti128_si256(rounded, 1);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packus_epi32(low, high));
  }
  static void store(f16* p, F x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  }

  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F abs(F a) { return _mm256_andnot_ps(set(-0.0f), a); }
  static F with_sign(F magnitude, F sign) {
    const F mask = set(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(mask, magnitude), _mm256_and_ps(mask, sign));
  }
  static F round(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F floor(F a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
  static F sqrt(F a) { return _mm256_sqrt_ps(a); }
  static F divide(F a, F b) { return a / b; }
  static M less(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
  static M not_less(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_NLT_UQ); }
  static M equal(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
  static M both(M a, M b) { return _mm256_and_ps(a, b); }
  static F select(M mask, F a, F b) { return _mm256_blendv_ps(b, a, mask); }
  static F permute(F a, I lanes) { return _mm256_permutevar8x32_ps(a, lanes); }  // lane i becomes a[lanes[i]]

  static I bits(F a) { return _mm256_castps_si256(a); }
  static F from_bits(I a) { return _mm256_castsi256_ps(a); }
  static F from_int(I a) { return _mm256_cvtepi32_ps(a); }
  static I add(I a, I b) { return _mm256_add_epi32(a, b); }
  static I subtract(I a, I b) { return _mm256_sub_epi32(a, b); }
  static I bit_and(I a, I b) { return _mm256_and_si256(a, b); }
  static I min(I a, I b) { return _mm256_min_epi32(a, b); }
  static I max(I a, I b) { return _mm256_max_epi32(a, b); }
  template <int N>
  static I shift_right(I a) {
    return _mm256_srai_epi32(a, N);
  }
  template <int N>
  static I shift_right_logical(I a) {
    return _mm256_srli_epi32(a, N);
  }
  static F scale(F x, F n) {  // zero below the normal numbers
    const I shift = _mm256_slli_epi32(_mm256_cvtps_epi32(min(set(127.0f), n)), 23);
    const F scaled = from_bits(_mm256_add_epi32(bits(x), shift));
    const F bounded = _mm256_blendv_ps(scaled, _mm256_setzero_ps(), less(n, set(-125.0f)));
    return _mm256_blendv_ps(bounded, n, _mm256_cmp_ps(n, n, _CMP_UNORD_Q));
  }
  static F exp(F x) { return simd::exp<Avx2>(x); }
  static F log_near_one(F x) { return simd::log<Avx2>(x); }
  static F exp2(F x) { return simd::exp2<Avx2>(x); }
  static F log2(F x) { return simd::log2<Avx2>(x); }

 private:
  static __m128i load_half(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
};

}  // namespace
}  // namespace pylatent
