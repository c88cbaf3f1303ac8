// A few values that travel as one aligned word of 2, 4, 8 or 16 bytes.
#pragma once

#include <cstring>
#include <type_traits>

#include "common/host_device.h"

namespace pylatent {

template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  static_assert(sizeof(T) * N == 2 || sizeof(T) * N == 4 || sizeof(T) * N == 8 || sizeof(T) * N == 16,
                "a Vec has 2, 4, 8 or 16 bytes");
  T data[N];

  __host__ __device__ T& operator[](int i) { return data[i]; }
  __host__ __device__ const T& operator[](int i) const { return data[i]; }
};

// The same bits as another type.
template <class To, class From>
__host__ __device__ inline To bit_cast(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "both types must have the same size");
  static_assert(std::is_trivially_copyable<From>::value, "bits of a type that cannot be copied as bytes");
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

}  // namespace pylatent
