// Which keys a query sees along one axis, and which queries see a key.
#pragma once

#include <cstdint>

#include "common/host_device.h"

namespace pylatent::neighborhood {

struct Window {
  int64_t length, kernel;  // length >= kernel

  // Query i sees the keys start(i) ... start(i) + kernel - 1.
  __host__ __device__ int64_t start(int64_t i) const {
    const int64_t first = i - kernel / 2, last = length - kernel;
    return first < 0 ? 0 : first > last ? last : first;
  }
  // Key i is seen by the queries first_query(i) ... last_query(i): up to 2 kernel - 1.
  __host__ __device__ int64_t first_query(int64_t i) const { return i < kernel ? 0 : i - kernel / 2; }
  __host__ __device__ int64_t last_query(int64_t i) const {
    return length - 1 - i < kernel ? length - 1 : i + kernel / 2;
  }
};

// Elements of an axis of `length` whose index has the residue `phase`.
__host__ __device__ inline int64_t residue_length(int64_t length, int64_t dilation, int64_t phase) {
  return (length - phase + dilation - 1) / dilation;
}

}  // namespace pylatent::neighborhood
