// Elementwise CUDA kernels: the device's elementary functions, and elements read and written 16 bytes at a time.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "common/device.h"
#include "common/simd_scalar.h"

namespace pylatent {

namespace {

// The policy of formulas over one lane (simd_scalar.h), with the device's own exp, log and division.
struct DeviceMath : Scalar {
  __device__ static float exp(float x) { return fast_exp(x); }
  __device__ static float log_near_one(float x) { return fast_log(x); }
  __device__ static float exp2(float x) { return fast_exp2(x); }
  __device__ static float log2(float x) { return fast_log2(x); }
  __device__ static float divide(float a, float b) { return fast_divide(a, b); }
};

}  // namespace

// x = the elements p[first + i], zero where first + i >= count. With `vectors`, p + first is aligned to 16 bytes, or to
// its N elements.
template <int N, class T>
__device__ inline void load_floats(float (&x)[N], Global<const T> p, int64_t first, int64_t count, bool vectors) {
  constexpr int WIDTH = 16 / sizeof(T) < N ? 16 / sizeof(T) : N;
  if (vectors && first + N <= count) {
    for (int i = 0; i < N; i += WIDTH) {
      const Vec<T, WIDTH> v = load_vec<WIDTH>(p + (first + i));
      for (int j = 0; j < WIDTH; ++j) x[i + j] = to_float(v[j]);
    }
    return;
  }
  for (int i = 0; i < N; ++i) {
    x[i] = 0.0f;
    if (first + i < count) {
      const T value = p[first + i];
      x[i] = to_float(value);
    }
  }
}

// The counterpart of load_floats.
template <int N, class T>
__device__ inline void store_floats(Global<T> p, int64_t first, int64_t count, const float (&x)[N], bool vectors) {
  constexpr int WIDTH = 16 / sizeof(T) < N ? 16 / sizeof(T) : N;
  if (vectors && first + N <= count) {
    for (int i = 0; i < N; i += WIDTH) {
      Vec<T, WIDTH> v;
      for (int j = 0; j < WIDTH; ++j) v[j] = from_float<T>(x[i + j]);
      store_vec(p + (first + i), v);
    }
    return;
  }
  for (int i = 0; i < N; ++i) {
    if (first + i < count) p[first + i] = from_float<T>(x[i]);
  }
}

constexpr int kElementwiseThreads = 256;

// Blocks for `count` elements, N a thread and turn: enough to fill the device, in a grid-stride loop beyond that.
template <int N>
dim3 elementwise_grid(int64_t count, int device) {
  const int64_t wanted = (count + N * kElementwiseThreads - 1) / (N * kElementwiseThreads);
  const int64_t most = int64_t{16} * multiprocessor_count(device);
  return dim3(static_cast<unsigned>(std::min(wanted, most)));
}

// Whether all addresses are aligned to 16 bytes: views may begin anywhere in their storage.
inline bool aligned(std::initializer_list<uintptr_t> addresses) {
  return std::all_of(addresses.begin(), addresses.end(), [](uintptr_t address) { return address % 16 == 0; });
}

// fn(Type<T>{}, std::integral_constant<bool, option>{}) for the element type of `dtype`.
template <class Fn>
void with_elements(const char* function, Dtype dtype, bool option, Fn&& fn) {
  const auto with_type = [&](auto type) {
    if (option) {
      fn(type, std::true_type{});
    } else {
      fn(type, std::false_type{});
    }
  };
  switch (dtype) {
    case Dtype::float32:
      return with_type(Type<float>{});
    case Dtype::float16:
      return with_type(Type<f16>{});
    case Dtype::bfloat16:
      return with_type(Type<bf16>{});
    default:
      unsupported_dtype(function, dtype);
  }
}

}  // namespace pylatent
