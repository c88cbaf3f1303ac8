// exp(-x) for vectors of floats and doubles. Everything here has internal linkage: see gated_fusion_rows.h.
#pragma once

#include <cstdint>
#include <cstring>

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

// out = exp(-x) for x clamped to [-87, 87] ([-708, 708] for double); NaN stays NaN. With magic added, the low bits of t
// hold the nearest integer n to -x / ln 2; exp(-x) = 2^n exp(-x - n ln 2), the latter by a polynomial.
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

}  // namespace
}  // namespace pylatent::gated_fusion
