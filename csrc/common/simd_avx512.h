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
  static I load(const int32_t* p) { return _mm512_loadu_si512(p); }
  static F loaded(F x) {  // x in a register: GCC would rather load it again for every use
    asm("" : "+v"(x));
    return x;
  }
  static F load(const bf16* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_half(p)), 16));
  }
  static F load(const f16* p) { return _mm512_cvtph_ps(load_half(p)); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static void store(int32_t* p, I x) { _mm512_storeu_si512(p, x); }
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
  // For normal b: an approximation of 14 bits and one Newton step, a quarter of the time of the instruction.
  static F divide(F a, F b) {
    const F approximate = _mm512_rcp14_ps(b);
    return a * fma(approximate, _mm512_fnmadd_ps(b, approximate, set(1.0f)), approximate);
  }
  static M less(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static M not_less(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ); }
  static M equal(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
  static M both(M a, M b) { return a & b; }
  static F select(M mask, F a, F b) { return _mm512_mask_mov_ps(b, mask, a); }
  static F permute(F a, I lanes) { return _mm512_permutexvar_ps(lanes, a); }  // lane i becomes a[lanes[i]]

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
  // Exponentials and log2 have tables of 16 entries in registers, which halves their polynomials (simd_math.h). The
  // logarithm's error is 1.5e-7 absolutely, the exponentials' 2e-7 relatively for results above 2^-30.
  static F exp(F x) {
    const F log2e = set(1.44269504f), sum = fma(x, log2e, set(sixteenths));
    const F n = sum - set(sixteenths);
    return power_of_two(sum, n, _mm512_fmsub_ps(x, log2e, n));
  }
  static F exp2(F x) {
    const F sum = x + set(sixteenths), n = sum - set(sixteenths);
    return power_of_two(sum, n, x - n);
  }
  static F log_near_one(F x) { return simd::log<Avx512>(x); }
  static F log2(F x) {
    const F inverse =
        _mm512_setr_ps(0.969696999f, 0.914285719f, 0.864864886f, 0.820512831f, 0.780487776f, 0.744186044f, 0.711111128f,
                       0.680851042f, 0.653061211f, 0.627451003f, 0.603773594f, 0.581818163f, 0.561403513f, 0.542372882f,
                       0.524590135f, 0.507936537f);  // 1 / (1 + (i + 1/2) / 16)
    const F table = _mm512_setr_ps(0.0443940764f, 0.129283009f, 0.209453331f, 0.2854022f, 0.357552058f, 0.42626476f,
                                   0.491853061f, 0.554588897f, 0.614709874f, 0.672425291f, 0.727920433f, 0.781359759f,
                                   0.832890003f, 0.882643047f, 0.930737418f, 0.97727984f);  // -log2(inverse)
    const F mantissa = _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_nan), exponent = _mm512_getexp_ps(x);
    const I index = _mm512_srli_epi32(bits(mantissa), 19);
    const F rest = _mm512_fmsub_ps(mantissa, _mm512_permutexvar_ps(index, inverse), set(1.0f));
    F p = fma(set(-0.360673760f), rest, set(0.480898347f));
    p = fma(fma(p, rest, set(-0.721347520f)), rest, set(1.44269504f));
    return fma(p, rest, _mm512_permutexvar_ps(index, table)) + exponent;
  }

 private:
  static constexpr float sixteenths = 786432.0f;  // 1.5 * 2^19: adding it rounds to 1/16

  // 2^(n + rest), the sixteenths of n being the last bits of `sum`.
  static F power_of_two(F sum, F n, F rest) {
    const F table = _mm512_setr_ps(1.0f, 1.04427378f, 1.09050773f, 1.13878863f, 1.18920712f, 1.24185781f, 1.29683955f,
                                   1.35425555f, 1.41421356f, 1.47682615f, 1.54221083f, 1.61049033f, 1.68179283f,
                                   1.75625216f, 1.83400809f, 1.91520656f);  // 2^(i / 16)
    const F power = _mm512_permutexvar_ps(bits(sum), table);
    const F p = fma(fma(set(5.55041087e-2f), rest, set(2.40226507e-1f)), rest, set(6.93147181e-1f));
    return _mm512_scalef_ps(fma(power * rest, p, power), n);  // scalef rounds n down
  }

  static __m256i load_half(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
};

}  // namespace
}  // namespace pylatent
