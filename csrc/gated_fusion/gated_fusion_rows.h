// The elementwise passes of the gated fusion over a range of rows. Included by one file per SIMD level, which the
// compiler vectorises for that level; everything here has internal linkage, so that no level runs another's code.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#ifdef __F16C__
#include <immintrin.h>
#endif

#include "common/half.h"
#include "gated_fusion/gated_fusion_exponential.h"
#include "gated_fusion/gated_fusion_variants.h"

namespace pylatent::gated_fusion {
namespace {

constexpr int kBlock = 256;  // elements handled at a time, in buffers that stay in the first-level cache

// How many of the elements left in a row to take next: the last few, which need padding, by themselves.
inline int block_size(int64_t left) {
  if (left >= kBlock) return kBlock;
  return static_cast<int>(left < kLanes ? left : left / kLanes * kLanes);
}

inline int padded(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

template <class F, class V = typename Vector<F>::type>
void get(V& to, const F* from) {
  std::memcpy(&to, from, sizeof(V));
}
template <class F, class V = typename Vector<F>::type>
void put(F* to, const V& from) {
  std::memcpy(to, &from, sizeof(V));
}

// result = (u + bias_u) sigmoid(gate), gate = v + bias_v.
template <class F>
void forward_block(const F* u, const F* v, const F* bias_u, const F* bias_v, F* result, F* gate, int n) {
  using V = typename Vector<F>::type;
  for (int i = 0; i < padded(n); i += int(sizeof(V) / sizeof(F))) {
    V x, y, bias, e;
    get(x, v + i);
    get(bias, bias_v + i);
    x += bias;
    put(gate + i, x);
    exponential(x, e);
    get(y, u + i);
    get(bias, bias_u + i);
    divide(y + bias, F(1) + e, x);
    put(result + i, x);
  }
}

template <class F>
void backward_block(const F* grad, const F* out, const F* gate, F* grad_u, F* grad_v, int n) {
  using V = typename Vector<F>::type;
  for (int i = 0; i < padded(n); i += int(sizeof(V) / sizeof(F))) {
    V g, x, e, y, sigmoid;
    get(x, gate + i);
    exponential(x, e);
    divide(V{} + F(1), F(1) + e, sigmoid);
    get(g, grad + i);
    get(y, out + i);
    put(grad_u + i, g * sigmoid);
    put(grad_v + i, g * y * (e * sigmoid));
  }
}

inline void convert(const bf16* from, float* to, int n) {
  for (int i = 0; i < n; ++i) {
    const uint32_t bits = uint32_t{from[i].bits} << 16;
    std::memcpy(to + i, &bits, 4);
  }
}

inline void convert(const float* from, bf16* to, int n) {
  for (int i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, from + i, 4);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    to[i].bits = uint16_t((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
  }
}

inline void convert(const f16* from, float* to, int n) {
#ifdef __F16C__
  int i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  }
  for (; i < n; ++i) to[i] = _cvtsh_ss(from[i].bits);
#else
  for (int i = 0; i < n; ++i) to[i] = to_float(from[i]);
#endif
}

inline void convert(const float* from, f16* to, int n) {
#ifdef __F16C__
  int i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), half);
  }
  for (; i < n; ++i) to[i].bits = _cvtss_sh(from[i], _MM_FROUND_TO_NEAREST_INT);
#else
  for (int i = 0; i < n; ++i) to[i] = from_float<f16>(from[i]);
#endif
}

template <class F>
void convert(const F* from, F* to, int n) {
  std::memcpy(to, from, static_cast<size_t>(n) * sizeof(F));
}

// n <= kBlock values as F, readable up to padded(n) with zeros at the end: in place where that is possible.
template <class F, class T>
const F* load(const T* from, F (&buffer)[kBlock], int n) {
  if constexpr (std::is_same_v<F, T>) {
    if (n % kLanes == 0) return from;
  }
  convert(from, buffer, n);
  for (int i = n; i < padded(n); ++i) buffer[i] = 0;
  return buffer;
}

// Where n values of F are put that `store` then brings to `to`: there itself where that is possible.
template <class F, class T>
F* target(T* to, F (&buffer)[kBlock], int n) {
  if constexpr (std::is_same_v<F, T>) {
    if (to != nullptr && n % kLanes == 0) return to;
  }
  return buffer;
}

template <class F, class T>
void store(const F* from, T* to, int n) {
  if constexpr (std::is_same_v<F, T>) {
    if (from == to) return;
  }
  if (to != nullptr) convert(from, to, n);
}

template <class F>
void fill(F (&buffer)[kBlock], F value, int64_t columns) {
  for (int i = 0; i < padded(columns < kBlock ? static_cast<int>(columns) : kBlock); ++i) buffer[i] = value;
}

template <class Work, class T, class F>
void forward_rows(const Forward& job, int64_t begin, int64_t end) {
  const Shape& shape = job.shape;
  alignas(64) F load_u[kBlock], load_v[kBlock], same_u[kBlock], same_v[kBlock], result[kBlock], gate[kBlock];
  for (int64_t row = begin; row < end; ++row) {
    const F *bias_u = static_cast<const F*>(job.bias_u), *bias_v = static_cast<const F*>(job.bias_v);
    if (!shape.channels_last) {
      fill(same_u, bias_u[row % shape.channels], shape.columns);
      fill(same_v, bias_v[row % shape.channels], shape.columns);
      bias_u = same_u;
      bias_v = same_v;
    }
    for (int64_t column = 0; column < shape.columns; column += block_size(shape.columns - column)) {
      const int n = block_size(shape.columns - column);
      const int64_t at = row * shape.columns + column;
      const F* u = load(static_cast<const Work*>(job.u) + at, load_u, n);
      const F* v = load(static_cast<const Work*>(job.v) + at, load_v, n);
      T* const out = static_cast<T*>(job.out) + at;
      T* const kept = job.gate == nullptr ? nullptr : static_cast<T*>(job.gate) + at;
      F *const to_out = target(out, result, n), *const to_gate = target(kept, gate, n);
      forward_block(u, v, bias_u, bias_v, to_out, to_gate, n);
      store(to_out, out, n);
      store(to_gate, kept, n);
      if (shape.channels_last) {
        bias_u += n;
        bias_v += n;
      }
    }
  }
}

template <class F>
F total(const F* x, int n) {
  F lanes[kLanes] = {};
  for (int i = 0; i < padded(n); i += kLanes) {
    for (int j = 0; j < kLanes; ++j) lanes[j] += x[i + j];
  }
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) lanes[j] += lanes[j + half];
  }
  return lanes[0];
}

template <class F>
void accumulate(const F* x, F* sums, int n) {
  for (int i = 0; i < n; ++i) sums[i] += x[i];
}

// sums_u and sums_v: null, or of row r at [r], or with channels_last one row of channels to which all rows are added.
template <class Work, class T, class F>
void backward_rows(const Backward& job, int64_t begin, int64_t end, F* sums_u, F* sums_v) {
  const Shape& shape = job.shape;
  alignas(64) F load_grad[kBlock], load_out[kBlock], load_gate[kBlock], u[kBlock], v[kBlock];
  for (int64_t row = begin; row < end; ++row) {
    F sum_u = 0, sum_v = 0;
    for (int64_t column = 0; column < shape.columns; column += block_size(shape.columns - column)) {
      const int n = block_size(shape.columns - column);
      const int64_t at = row * shape.columns + column;
      const F* grad = load(static_cast<const T*>(job.grad) + at, load_grad, n);
      const F* out = load(static_cast<const T*>(job.out) + at, load_out, n);
      const F* gate = load(static_cast<const T*>(job.gate) + at, load_gate, n);
      backward_block(grad, out, gate, u, v, n);
      convert(u, static_cast<Work*>(job.grad_u) + at, n);
      convert(v, static_cast<Work*>(job.grad_v) + at, n);
      if (sums_u == nullptr) continue;
      if (shape.channels_last) {
        accumulate(u, sums_u + column, n);
        accumulate(v, sums_v + column, n);
      } else {
        sum_u += total(u, n);
        sum_v += total(v, n);
      }
    }
    if (sums_u != nullptr && !shape.channels_last) {
      sums_u[row] = sum_u;
      sums_v[row] = sum_v;
    }
  }
}

// fn(Type<Work>, Type<T>, Type<F>) for the pairs of dtypes that check_dtypes lets through.
template <class Fn>
void for_types(Dtype work, Dtype dtype, Fn&& fn) {
  const bool single = work == Dtype::float32;
  if (dtype == Dtype::float32 && single) return fn(Type<float>{}, Type<float>{}, Type<float>{});
  if (dtype == Dtype::float64 && work == dtype) return fn(Type<double>{}, Type<double>{}, Type<double>{});
  if (dtype == Dtype::bfloat16 && work == dtype) return fn(Type<bf16>{}, Type<bf16>{}, Type<float>{});
  if (dtype == Dtype::bfloat16 && single) return fn(Type<float>{}, Type<bf16>{}, Type<float>{});
  if (dtype == Dtype::float16 && work == dtype) return fn(Type<f16>{}, Type<f16>{}, Type<float>{});
  if (dtype == Dtype::float16 && single) return fn(Type<float>{}, Type<f16>{}, Type<float>{});
}

void forward_range(const Forward& job, int64_t begin, int64_t end) {
  for_types(job.work, job.dtype, [&](auto work, auto type, auto wide) {
    using W = typename decltype(work)::type;
    using T = typename decltype(type)::type;
    forward_rows<W, T, typename decltype(wide)::type>(job, begin, end);
  });
}

void backward_range(const Backward& job, int64_t begin, int64_t end, void* sums_u, void* sums_v) {
  for_types(job.work, job.dtype, [&](auto work, auto type, auto wide) {
    using W = typename decltype(work)::type;
    using T = typename decltype(type)::type;
    using F = typename decltype(wide)::type;
    backward_rows<W, T, F>(job, begin, end, static_cast<F*>(sums_u), static_cast<F*>(sums_v));
  });
}

}  // namespace
}  // namespace pylatent::gated_fusion
