// A sample of relaxed rounding and its derivative, over a SIMD policy (common/simd_scalar.h): the CPU and the CUDA
// kernels compute the same formulas. pylatent/ops/sga_sample.py states them. Logits and noise are to base 2, which
// saves the changes of base.
#pragma once

#include "common/host_device.h"
#include "common/simd_math.h"

namespace pylatent::sga {

enum class Method { atanh = 0, linear = 1, cosine = 2, ssl = 3 };

constexpr float kLeastTau = 0.05f;
constexpr float kLog2e = 1.44269504f;

template <class S>
struct Parameters {
  typename S::F inverse_tau, a, r, n;
  typename S::F rest;  // 1 - r
  bool square;         // n is 2

  __host__ __device__ Parameters(float tau, float a, float r, float rest, float n)
      : inverse_tau(S::set(1.0f / (tau > kLeastTau ? tau : kLeastTau))),
        a(S::set(a)),
        r(S::set(r)),
        n(S::set(n)),
        rest(S::set(rest)),
        square(n == 2.0f) {}
};

template <class S>
struct Sample {
  typename S::F value;  // between the candidates
  typename S::F slope;  // d value / d v
};

// What a method gives to two classes: log2(f(ceil) / f(floor)) and the derivative of the natural logarithm by v.
template <class S>
struct Odds {
  typename S::F log, slope;
};

// w = v - floor(v), b = floor(v) + 1 - v. Each class's logit is constant where its distance from the other integer is
// below 1e-5.
template <class S, Method method>
__host__ __device__ inline Odds<S> odds(typename S::F w, typename S::F b, const Parameters<S>& p) {
  using F = typename S::F;
  const F one = S::set(1.0f), zero = S::set(0.0f), least = S::set(1e-5f), most = S::set(1.0f - 1e-5f);
  const F w_least = S::max(least, w), b_least = S::max(least, b);
  const auto w_inside = S::not_less(w, least), b_inside = S::not_less(b, least);
  if constexpr (method == Method::linear) {
    const F reciprocal = S::divide(one, w_least * b_least);
    return {S::log2(w_least * w_least * reciprocal),
            S::select(w_inside, b_least * reciprocal, zero) + S::select(b_inside, w_least * reciprocal, zero)};
  } else if constexpr (method == Method::ssl) {
    const F wc = S::min(most, w_least), bc = S::min(most, b_least);
    const F reciprocal = S::divide(one, wc * bc);
    return {p.a * S::log2(wc * wc * reciprocal), S::select(S::both(w_inside, b_inside), p.a * reciprocal, zero)};
  } else if constexpr (method == Method::atanh) {
    const F w_sum = one + S::min(most, w), b_sum = one + S::min(most, b);
    const F ceil = w_sum * w_least, floor = b_sum * b_least;
    const F reciprocal = S::divide(one, ceil * floor);
    return {S::set(0.5f) * S::log2(ceil * ceil * reciprocal),
            S::select(w_inside, b_least * w_sum * reciprocal, zero) +
                S::select(b_inside, w_least * b_sum * reciprocal, zero)};
  } else {
    const F floor_cos = simd::sin_half_pi<S>(b_least), ceil_cos = simd::sin_half_pi<S>(w_least);
    const F scale = S::set(1.0f - 1e-7f), shift = S::set(1e-7f);
    const F floor = S::fma(scale * floor_cos, floor_cos, shift), ceil = S::fma(scale * ceil_cos, ceil_cos, shift);
    const F reciprocal = S::divide(one, floor * ceil);
    const F inner = S::select(w_inside, floor * reciprocal, zero) + S::select(b_inside, ceil * reciprocal, zero);
    return {S::log2(ceil * ceil * reciprocal), S::set(3.14159265f) * floor_cos * ceil_cos * inner};
  }
}

// `noise` is the Gumbel noise of ceil less that of floor. An integer v is its own floor and ceil: its slope is 0.
template <class S, Method method>
__host__ __device__ inline Sample<S> two_classes(typename S::F v, typename S::F noise, const Parameters<S>& p) {
  using F = typename S::F;
  const F one = S::set(1.0f), zero = S::set(0.0f), far = S::set(115.0f);
  const F floor = S::floor(v), w = v - floor;
  const Odds<S> odds = sga::odds<S, method>(w, floor + one - v, p);
  const F z = S::fma(odds.log, p.inverse_tau, noise) * p.inverse_tau;
  const F other = S::exp2(S::min(far, S::max(zero - far, zero - z)));
  const F s = S::divide(one, one + other);
  const auto dead = S::equal(w, zero);
  return {S::select(dead, v, floor + s),
          S::select(dead, zero, other * s * s * odds.slope * p.inverse_tau * p.inverse_tau)};
}

// What a method gives to three classes k - 1, k, k + 1: l(up) - l(middle) and l(down) - l(middle) to base 2, and
// dl / d|w| of each, l = log f.
template <class S>
struct Logits {
  typename S::F up, down, middle_slope, up_slope, down_slope;
};

// 1 / x, 1 / y and 1 / z with one division.
template <class S>
__host__ __device__ inline void reciprocals(typename S::F& x, typename S::F& y, typename S::F& z) {
  const typename S::F xy = x * y, all = S::divide(S::set(1.0f), xy * z);
  const typename S::F x_inverse = all * (y * z), y_inverse = all * (x * z);
  z = all * xy;
  x = x_inverse;
  y = y_inverse;
}

// Of a candidate: r |w| and 1 - r |w|, each with all its digits.
template <class S>
struct Distance {
  typename S::F near, left;
};

template <class S>
struct Linear {
  typename S::F h;  // f = h^n
  decltype(S::less(typename S::F{}, typename S::F{})) inside;

  __host__ __device__ explicit Linear(const Distance<S>& at) {
    h = S::max(S::set(1e-6f), at.left);
    inside = S::not_less(at.left, S::set(1e-6f));
  }
};

template <class S>
struct Cosine {
  typename S::F f, derivative;  // of f by r |w|

  __host__ __device__ Cosine(const Distance<S>& at, const Parameters<S>& p) {
    using F = typename S::F;
    const F one = S::set(1.0f), angle = S::min(one, at.near);
    const F cos = S::max(S::set(1e-20f), simd::sin_half_pi<S>(S::max(S::set(0.0f), at.left)));
    const F power = p.square ? cos : S::exp2((p.n - one) * S::log2(cos));  // cos^(n - 1)
    f = S::fma(power, cos, S::set(1e-7f));
    derivative = S::set(-1.57079633f) * p.n * power * simd::sin_half_pi<S>(angle);
    derivative = S::select(S::less(angle, one), derivative, S::set(0.0f));
  }
};

template <class S>
struct ScaledSigmoid {
  typename S::F q, derivative;  // f = q^-n, derivative = -q' / (a r) where neither x nor f is clamped
  typename S::F c;              // r |w|, clamped
  typename S::F reciprocal;     // of c (1 - c): its own until `finish`

  __host__ __device__ explicit ScaledSigmoid(const Distance<S>& at) {
    const typename S::F least = S::set(1e-6f), most = S::set(1.0f - 1e-6f);
    c = S::min(most, S::max(least, at.near));
    reciprocal = c * S::min(most, S::max(least, at.left));
  }
  __host__ __device__ void finish(const Distance<S>& at, const Parameters<S>& p) {
    const typename S::F least = S::set(1e-6f), bound = S::set(1e6f);
    const typename S::F power = S::exp2(p.a * S::log2(c * c * reciprocal));  // (c / (1 - c))^a
    const auto inside = S::both(S::not_less(S::min(at.near, at.left), least), S::less(power, bound - S::set(1.0f)));
    q = S::min(bound, S::set(1.0f) + power);
    derivative = S::select(inside, S::set(-1.0f) * power * reciprocal, S::set(0.0f));
  }
};

template <class S>
struct Atanh {
  typename S::F ratio, inverse;  // f = ratio^(n/2), ratio = (1 - y) / (1 + y), inverse = 1 / ratio
  typename S::F derivative;      // of l by r |w|, over n

  __host__ __device__ explicit Atanh(const Distance<S>& at) {
    using F = typename S::F;
    const F one = S::set(1.0f), least = S::set(1e-5f);
    const F minus = S::max(least, at.left), plus = one + S::min(S::set(1.0f - 1e-5f), at.near);
    const F reciprocal = S::divide(one, minus * plus);
    ratio = minus * minus * reciprocal;
    inverse = plus * plus * reciprocal;
    derivative = S::select(S::not_less(at.left, least), S::set(-1.0f) * reciprocal, S::set(0.0f));
  }
};

template <class S, Method method>
__host__ __device__ inline Logits<S> logits(const Distance<S>& middle, const Distance<S>& up, const Distance<S>& down,
                                            const Parameters<S>& p) {
  using F = typename S::F;
  if constexpr (method == Method::linear) {
    const Linear<S> m(middle), u(up), d(down);
    F m_inverse = m.h, u_inverse = u.h, d_inverse = d.h;
    reciprocals<S>(m_inverse, u_inverse, d_inverse);
    const F factor = S::set(-1.0f) * p.n * p.r, zero = S::set(0.0f);
    return {p.n * S::log2(u.h * m_inverse), p.n * S::log2(d.h * m_inverse),
            S::select(m.inside, factor * m_inverse, zero), S::select(u.inside, factor * u_inverse, zero),
            S::select(d.inside, factor * d_inverse, zero)};
  } else if constexpr (method == Method::cosine) {
    const Cosine<S> m(middle, p), u(up, p), d(down, p);
    F m_inverse = m.f, u_inverse = u.f, d_inverse = d.f;
    reciprocals<S>(m_inverse, u_inverse, d_inverse);
    return {S::log2(u.f * m_inverse), S::log2(d.f * m_inverse), p.r * m.derivative * m_inverse,
            p.r * u.derivative * u_inverse, p.r * d.derivative * d_inverse};
  } else if constexpr (method == Method::ssl) {
    ScaledSigmoid<S> m(middle), u(up), d(down);
    reciprocals<S>(m.reciprocal, u.reciprocal, d.reciprocal);
    m.finish(middle, p);
    u.finish(up, p);
    d.finish(down, p);
    F m_inverse = m.q, u_inverse = u.q, d_inverse = d.q;
    reciprocals<S>(m_inverse, u_inverse, d_inverse);
    const F factor = p.n * p.a * p.r;
    return {p.n * S::log2(m.q * u_inverse), p.n * S::log2(m.q * d_inverse), factor * m.derivative * m_inverse,
            factor * u.derivative * u_inverse, factor * d.derivative * d_inverse};
  } else {
    const Atanh<S> m(middle), u(up), d(down);
    const F half = S::set(0.5f) * p.n, factor = p.n * p.r;
    return {half * S::log2(u.ratio * m.inverse), half * S::log2(d.ratio * m.inverse), factor * m.derivative,
            factor * u.derivative, factor * d.derivative};
  }
}

// Of v with three classes, the nearest of which is k.
template <class S, Method method>
__host__ __device__ inline Logits<S> logits_at(typename S::F v, typename S::F k, const Parameters<S>& p) {
  const typename S::F scaled = p.r * (v - k), size = S::abs(scaled);
  return logits<S, method>({size, S::set(1.0f) - size}, {p.r - scaled, p.rest + scaled},
                           {p.r + scaled, p.rest - scaled}, p);
}

// `up_noise` and `down_noise` are the Gumbel noise of k + 1 and of k - 1, less that of k.
template <class S>
__host__ __device__ inline Sample<S> three_classes(typename S::F v, typename S::F k, const Logits<S>& l,
                                                   typename S::F up_noise, typename S::F down_noise,
                                                   const Parameters<S>& p) {
  using F = typename S::F;
  const F one = S::set(1.0f), zero = S::set(0.0f), w = v - k;
  const F up = S::fma(l.up, p.inverse_tau, up_noise) * p.inverse_tau;
  const F down = S::fma(l.down, p.inverse_tau, down_noise) * p.inverse_tau;
  const F highest = S::max(zero, S::max(up, down));
  const F m = S::exp2(zero - highest), u = S::exp2(up - highest), d = S::exp2(down - highest);
  const F scale = S::divide(one, m + (u + d));
  const F middle = m * scale, above = u * scale, below = d * scale, mean = above - below;
  // The sum over the classes c of s_c (c - mean) dl_c / dv, where v rises towards k + 1 and away from k - 1.
  const F away = S::select(S::less(w, zero), zero - l.middle_slope, S::select(S::equal(w, zero), zero, l.middle_slope));
  const F slope = zero - above * (middle + (below + below)) * l.up_slope -
                  below * (middle + (above + above)) * l.down_slope - middle * mean * away;
  return {k + mean, slope * p.inverse_tau * p.inverse_tau};
}

// Gumbel noise enters only as differences, -log of ratios of exponential variables; these ratios have the distribution
// of the spacings of sorted uniform numbers in (0, 1): no logarithm for each class, and one uniform number less.
// `word` holds 31 random bits; no spacing is ever 0.
template <class S>
__host__ __device__ inline typename S::F noise_of_two(typename S::I word) {
  const typename S::F half = S::set(0.5f);
  const typename S::I rest = S::subtract(S::set_int(0x7fffffff), word);
  return S::log2(S::divide(S::from_int(word) + half, S::from_int(rest) + half));
}

template <class S>
__host__ __device__ inline void noise_of_three(typename S::I first, typename S::I second, typename S::F& up,
                                               typename S::F& down) {
  const typename S::F half = S::set(0.5f);
  const typename S::I low = S::min(first, second), high = S::max(first, second);
  const typename S::F below = S::from_int(low) + half;
  const typename S::F middle = S::from_int(S::subtract(high, low)) + half;
  const typename S::F above = S::from_int(S::subtract(S::set_int(0x7fffffff), high)) + half;
  const typename S::F reciprocal = S::divide(middle, below * above);
  up = S::log2(reciprocal * below);  // log2(middle / above)
  down = S::log2(reciprocal * above);
}

}  // namespace pylatent::sga
