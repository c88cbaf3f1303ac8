// Bits of a residual under N(0, scale^2) over unit bins, and their gradients, over a SIMD policy
// (common/simd_scalar.h): the CPU and the CUDA kernels compute the same formulas.
#pragma once

#include "common/host_device.h"
#include "common/simd_math.h"

namespace pylatent::gaussian {

constexpr float kScaleBound = 0.11f;
constexpr float kLikelihoodBound = 1e-9f;

// The bin [t - 1/2, t + 1/2] / scale of the standard normal density phi, t = |q|.
template <class S>
struct Bin {
  typename S::F mass;          // the likelihood
  typename S::F rise;          // sqrt(2 pi) (phi(upper end) - phi(lower end))
  typename S::F sum;           // sqrt(2 pi) (phi(upper end) + phi(lower end))
  typename S::F middle, half;  // of the bin
  typename S::F inverse_scale;
};

// Bins of scales up to 8 are differences of complementary error functions. Wider densities would lose digits there: the
// density is integrated by its series around the middle instead.
template <class S>
__host__ __device__ inline Bin<S> bin_of(typename S::F q, typename S::F scale) {
  using F = typename S::F;
  const F one = S::set(1.0f), half = S::set(0.5f), root_half = S::set(0.70710678f);
  const F inverse = S::divide(one, S::max(S::set(kScaleBound), scale));
  const F t = S::abs(q);
  const F far = S::set(1e4f);  // in scales; there the densities are 0, and no product below overflows
  const F lower = S::min(far, (t - half) * inverse), upper = S::min(far, (t + half) * inverse);
  const F lower_density = S::exp(S::set(-0.5f) * lower * lower), upper_density = S::exp(S::set(-0.5f) * upper * upper);

  const F d1 = S::fma(S::set(0.4f), S::abs(lower) * root_half, one), d2 = S::fma(S::set(0.4f), upper * root_half, one);
  const F reciprocal = S::divide(one, d1 * d2);
  const F beyond_lower = half * lower_density * simd::erfcx<S>(reciprocal * d2);
  const F beyond_upper = half * upper_density * simd::erfcx<S>(reciprocal * d1);
  const F narrow_mass = S::select(S::less(lower, S::set(0.0f)), one - beyond_lower, beyond_lower) - beyond_upper;

  const F m = S::min(far, t * inverse), h = half * inverse;
  const F density = S::sqrt(lower_density * upper_density);  // exp(-(m^2 + h^2) / 2)
  const F x = S::min(S::set(2.0f), m * h), y = x * x, hh = h * h;
  const F sinh = x * simd::polynomial<S>(y, {1.9841270e-4f, 8.3333333e-3f, 1.6666667e-1f, 1.0f});
  const F series = simd::polynomial<S>(y, {1.9841270e-4f, 8.3333333e-3f, 1.6666667e-1f, 1.0f});
  const F correction = simd::polynomial<S>(y, {1.1904762e-3f, 3.3333333e-2f, 3.3333333e-1f});
  const F wide_mass =
      S::set(0.79788456f) * h * density * S::fma(hh, S::fma(hh, S::set(6.6666667e-2f), correction), series);

  const auto wide = S::less(inverse, S::set(0.125f));
  return {S::select(wide, wide_mass, narrow_mass),
          S::select(wide, S::set(-2.0f) * density * sinh, upper_density - lower_density),
          upper_density + lower_density,
          m,
          h,
          inverse};
}

// -log2(max(likelihood, bound)).
template <class S>
__host__ __device__ inline typename S::F bits(typename S::F q, typename S::F scale) {
  const typename S::F mass = S::max(S::set(kLikelihoodBound), bin_of<S>(q, scale).mass);
  return S::set(-1.44269504f) * S::log_near_one(mass);
}

template <class S>
struct Gradients {
  typename S::F q, scale;
};

// Both lower bounds pass a gradient where the bounded value lies above, or where a step against it would raise it.
template <class S>
__host__ __device__ inline Gradients<S> gradients(typename S::F grad, typename S::F q, typename S::F scale) {
  using F = typename S::F;
  const F zero = S::set(0.0f);
  const Bin<S> bin = bin_of<S>(q, scale);
  const F bounded = S::max(S::set(kLikelihoodBound), bin.mass);
  // d bits / d likelihood, over the sqrt(2 pi) that the densities lack.
  F outer = S::set(-0.57555205f) * S::divide(grad, bounded) * bin.inverse_scale;
  const auto cut = S::both(S::less(bin.mass, S::set(kLikelihoodBound)), S::not_less(zero, grad));
  outer = S::select(cut, zero, outer);
  const F grad_t = outer * bin.rise;
  F grad_scale = zero - outer * S::fma(bin.half, bin.sum, bin.middle * bin.rise);
  const auto below = S::both(S::less(scale, S::set(kScaleBound)), S::not_less(grad_scale, zero));
  grad_scale = S::select(below, zero, grad_scale);
  // t = |q| has slope 0 at 0, where the density does not rise either.
  return {S::select(S::less(q, zero), zero - grad_t, grad_t), grad_scale};
}

}  // namespace pylatent::gaussian
