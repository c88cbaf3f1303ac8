// The SIMD policy of one lane: what every CPU runs, and what CUDA kernels derive theirs from.
//
// A policy S names a vector of floats S::F, of int32 S::I and a mask S::M, and the operations on them; + - * / are the
// operators of S::F. Formulas are templates over S, written once (simd_math.h). Policies live in unnamed namespaces, so
// that code compiled for newer CPUs never replaces a function of other files.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/simd_math.h"
#include "common/vec.h"

namespace pylatent {
namespace {

struct Scalar {
  using F = float;
  using I = int32_t;
  using M = bool;
  static constexpr int width = 1;

  __host__ __device__ static F set(float x) { return x; }
  __host__ __device__ static I set_int(int32_t x) { return x; }

  __host__ __device__ static F fma(F a, F b, F c) { return a * b + c; }
  // min and max return b where either is NaN.
  __host__ __device__ static F max(F a, F b) { return a > b ? a : b; }
  __host__ __device__ static F min(F a, F b) { return a < b ? a : b; }
  __host__ __device__ static F abs(F a) { return fabsf(a); }
  __host__ __device__ static F with_sign(F magnitude, F sign) { return copysignf(magnitude, sign); }
  __host__ __device__ static F round(F a) { return rintf(a); }
  __host__ __device__ static F floor(F a) { return floorf(a); }
  __host__ __device__ static F sqrt(F a) { return sqrtf(a); }
  __host__ __device__ static F divide(F a, F b) { return a / b; }
  __host__ __device__ static M less(F a, F b) { return a < b; }
  __host__ __device__ static M not_less(F a, F b) { return !(a < b); }
  __host__ __device__ static M equal(F a, F b) { return a == b; }
  __host__ __device__ static M both(M a, M b) { return a && b; }
  __host__ __device__ static F select(M mask, F a, F b) { return mask ? a : b; }

  __host__ __device__ static I bits(F a) { return bit_cast<int32_t>(a); }
  __host__ __device__ static F from_bits(I a) { return bit_cast<float>(a); }
  __host__ __device__ static F from_int(I a) { return static_cast<float>(a); }
  __host__ __device__ static I add(I a, I b) {
    return static_cast<I>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
  }
  __host__ __device__ static I subtract(I a, I b) {
    return static_cast<I>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
  }
  __host__ __device__ static I bit_and(I a, I b) { return a & b; }
  __host__ __device__ static I min(I a, I b) { return a < b ? a : b; }
  __host__ __device__ static I max(I a, I b) { return a > b ? a : b; }
  template <int N>
  __host__ __device__ static I shift_right(I a) {
    return a >> N;
  }
  template <int N>
  __host__ __device__ static I shift_right_logical(I a) {
    return static_cast<I>(static_cast<uint32_t>(a) >> N);
  }
  // x 2^n for integral n, zero below the normal numbers.
  __host__ __device__ static F scale(F x, F n) {
    const F bounded = n < 127.0f ? (n > -126.0f ? n : -126.0f) : 127.0f;
    const F scaled = bit_cast<float>(bit_cast<int32_t>(x) + static_cast<int32_t>(bounded) * (1 << 23));
    return (n < -125.0f ? 0.0f : scaled) + (n - n);  // NaN stays NaN
  }
  __host__ __device__ static F exp(F x) { return simd::exp<Scalar>(x); }
  __host__ __device__ static F log_near_one(F x) { return simd::log<Scalar>(x); }  // with all its digits
  __host__ __device__ static F exp2(F x) { return simd::exp2<Scalar>(x); }
  __host__ __device__ static F log2(F x) { return simd::log2<Scalar>(x); }
};

}  // namespace
}  // namespace pylatent
