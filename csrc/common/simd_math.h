// Elementary functions over a SIMD policy S (simd_scalar.h): a few units in the last place, one code for every level.
#pragma once

#include "common/host_device.h"

namespace pylatent::simd {

// Coefficients from the highest to the lowest. Even and odd powers are summed side by side: half the latency of
// Horner's rule, which is what limits these functions.
template <class S, int N>
__host__ __device__ inline typename S::F polynomial(typename S::F x, const float (&coefficients)[N]) {
  const typename S::F square = x * x;
  typename S::F first = S::set(coefficients[0]), second = S::set(coefficients[1]);
  for (int i = 2; i + 1 < N; i += 2) {
    first = S::fma(first, square, S::set(coefficients[i]));
    second = S::fma(second, square, S::set(coefficients[i + 1]));
  }
  if (N % 2 == 0) return S::fma(first, x, second);
  return S::fma(S::fma(first, x, second), x, S::set(coefficients[N - 1]));
}

// Zero for x below -86, infinite or very large above 88. Coefficients: Cephes, expf.
template <class S>
__host__ __device__ inline typename S::F exp(typename S::F x) {
  // Adding 1.5 * 2^23 rounds to the nearest integer.
  const typename S::F magic = S::set(12582912.0f);
  const typename S::F n = S::fma(x, S::set(1.44269504f), magic) - magic;
  typename S::F r = S::fma(n, S::set(-0.693359375f), x);
  r = S::fma(n, S::set(2.12194440e-4f), r);
  const typename S::F p = polynomial<S>(
      r, {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f});
  return S::scale(S::fma(p, r * r, r) + S::set(1.0f), n);
}

// 2^x; zero for x below -125, infinite or very large above 127. Relative error 3e-9 before rounding.
template <class S>
__host__ __device__ inline typename S::F exp2(typename S::F x) {
  const typename S::F magic = S::set(12582912.0f);
  const typename S::F n = (x + magic) - magic, r = x - n;
  const typename S::F p = polynomial<S>(
      r, {1.5379977409e-4f, 1.3405496123e-3f, 9.6183742338e-3f, 5.5503127211e-2f, 2.4022648082e-1f, 6.9314721464e-1f});
  return S::scale(S::fma(p, r, S::set(1.0f)), n);
}

// x = m 2^exponent with m in [sqrt(1/2), sqrt(2)); returns log(m). x must be positive and normal. Coefficients: Cephes,
// logf.
template <class S>
__host__ __device__ inline typename S::F log_mantissa(typename S::F x, typename S::F& exponent) {
  const typename S::I half = S::set_int(0x3f3504f3);  // sqrt(1/2)
  const typename S::I above = S::subtract(S::bits(x), half);
  exponent = S::from_int(S::template shift_right<23>(above));
  const typename S::F f = S::from_bits(S::add(S::bit_and(above, S::set_int(0x7fffff)), half)) - S::set(1.0f);
  const typename S::F p =
      polynomial<S>(f, {7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                        -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f});
  const typename S::F square = f * f;
  return S::fma(square, S::fma(p, f, S::set(-0.5f)), f);
}

// Natural logarithm of a positive normal number; NaN and infinity give NaN.
template <class S>
__host__ __device__ inline typename S::F log(typename S::F x) {
  typename S::F exponent;
  const typename S::F mantissa = log_mantissa<S>(x, exponent);
  const typename S::F low = S::fma(exponent, S::set(-2.12194440e-4f), mantissa);
  return S::fma(exponent, S::set(0.693359375f), low) + (x - x);
}

// The same to base 2.
template <class S>
__host__ __device__ inline typename S::F log2(typename S::F x) {
  typename S::F exponent;
  const typename S::F mantissa = log_mantissa<S>(x, exponent);
  return S::fma(mantissa, S::set(1.44269504f), exponent) + (x - x);
}

// sin(pi x / 2) for x in [0, 1], without loss near 0; relative error 5e-9 before rounding.
template <class S>
__host__ __device__ inline typename S::F sin_half_pi(typename S::F x) {
  return x * polynomial<S>(x * x,
                           {1.5148511738e-4f, -4.6737664379e-3f, 7.9689681530e-2f, -6.4596372843e-1f, 1.5707963705f});
}

// exp(x^2) erfc(x) for t = 1 / (1 + 0.4 x), x in [0, 9.5]; relative error 7e-9 before rounding.
template <class S>
__host__ __device__ inline typename S::F erfcx(typename S::F t) {
  return t *
         polynomial<S>(t, {-3.0595932156e-2f, 2.0347829163e-1f, -5.1173013449e-1f, 5.6476533413e-1f, -2.9887607694e-1f,
                           2.7991288900e-1f, 1.2694405019e-1f, 2.1551088989e-1f, 2.2488003969e-1f, 2.2571066022e-1f});
}

}  // namespace pylatent::simd
