// exp(-x) and quotients for vectors of floats and doubles. Everything here has internal linkage: see
// gated_fusion_rows.h.
#pragma once

#include <cstdint>
#include <cstring>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace pylatent::gated_fusion {
namespace {

// 64 bytes of F, for the compilers that have such types; one F for the others.
template <class F>
struct Vector;

#if defined(__GNUC__) || defined(__clang__)
template <>
struct Vector<float> {
  typedef float type __attribute__((vector_size(64)));
  typedef uint32_t bits __attribute__((vector_size(64)));
};
template <>
struct Vector<double> {
  typedef double type __attribute__((vector_size(64)));
  typedef uint64_t bits __attribute__((vector_size(64)));
};
#else
template <>
struct Vector<float> {
  using type = float;
  using bits = uint32_t;
};
template <>
struct Vector<double> {
  using type = double;
  using bits = uint64_t;
};
#endif

using Floats = Vector<float>::type;
using Doubles = Vector<double>::type;

// exponential: out = exp(-x) for x clamped to [-87, 87] ([-708, 708] for double); NaN stays NaN. divide: a / b for
// normal b. Both to within a few units in the last place.
#ifdef __AVX512F__
// With a table of 2^(i / 16) in a register, and an approximate reciprocal with one Newton step: half the instructions.
inline void exponential(const Floats& x, Floats& out) {
  const __m512 table = _mm512_setr_ps(1.0f, 1.04427378f, 1.09050773f, 1.13878863f, 1.18920712f, 1.24185781f,
                                      1.29683955f, 1.35425555f, 1.41421356f, 1.47682615f, 1.54221083f, 1.61049033f,
                                      1.68179283f, 1.75625216f, 1.83400809f, 1.91520656f);
  const __m512 log2e = _mm512_set1_ps(1.44269502f), magic = _mm512_set1_ps(786432.0f);  // 1.5 2^19: rounds to 1/16
  __m512 y = _mm512_max_ps(_mm512_set1_ps(-87.0f), reinterpret_cast<const __m512&>(x));
  y = _mm512_min_ps(_mm512_set1_ps(87.0f), y);
  const __m512 sum = _mm512_fnmadd_ps(y, log2e, magic), n = _mm512_sub_ps(sum, magic);
  __m512 rest = _mm512_fnmsub_ps(y, log2e, n);
  rest = _mm512_fnmadd_ps(y, _mm512_set1_ps(1.92596299e-8f), rest);
  const __m512 power = _mm512_permutexvar_ps(_mm512_castps_si512(sum), table);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(5.55041087e-2f), rest, _mm512_set1_ps(2.40226507e-1f));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(6.93147181e-1f));
  out = _mm512_scalef_ps(_mm512_fmadd_ps(_mm512_mul_ps(power, rest), p, power), n);  // rounds n down
}

inline void divide(const Floats& a, const Floats& b, Floats& out) {
  const __m512 wide = reinterpret_cast<const __m512&>(b), near = _mm512_rcp14_ps(wide);
  const __m512 rest = _mm512_fnmadd_ps(wide, near, _mm512_set1_ps(1.0f));
  out = a * Floats(_mm512_fmadd_ps(near, rest, near));
}
#else
// With magic added, the low bits of t hold the nearest integer n to -x / ln 2; exp(-x) = 2^n exp(-x - n ln 2), the
// latter by a polynomial.
inline void exponential(const Floats& x, Floats& out) {
  Floats y = x < -87.0f ? Floats{} - 87.0f : x;
  y = y > 87.0f ? Floats{} + 87.0f : y;
  const Floats t = y * -1.44269504f + 12582912.0f, n = t - 12582912.0f;
  const Floats r = -(y + n * 0.693359375f) - n * -2.12194440e-4f;
  Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  Vector<float>::bits bits;
  std::memcpy(&bits, &t, sizeof(t));
  bits = (bits << 23) + 0x3f800000u;
  Floats scale;
  std::memcpy(&scale, &bits, sizeof(bits));
  out = p * scale;
}

inline void divide(const Floats& a, const Floats& b, Floats& out) { out = a / b; }
#endif

inline void exponential(const Doubles& x, Doubles& out) {
  Doubles y = x < -708.0 ? Doubles{} - 708.0 : x;
  y = y > 708.0 ? Doubles{} + 708.0 : y;
  const Doubles t = y * -1.4426950408889634 + 6755399441055744.0, n = t - 6755399441055744.0;
  const Doubles r = -(y + n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  Doubles p = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0;  // Taylor series to degree 13: the rest is below 5e-18
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * (r * r) + r + 1.0;
  Vector<double>::bits bits;
  std::memcpy(&bits, &t, sizeof(t));
  bits = (bits << 52) + (uint64_t{1023} << 52);
  Doubles scale;
  std::memcpy(&scale, &bits, sizeof(bits));
  out = p * scale;
}

inline void divide(const Doubles& a, const Doubles& b, Doubles& out) { out = a / b; }

}  // namespace
}  // namespace pylatent::gated_fusion
