// The products of neighbourhood attention over a SIMD policy: lanes are neighbouring columns of a row, slots the
// `kernel` columns that each meets in one row of the other side. Since windows move with the lanes, a slot of all lanes
// is one unaligned load; where they stop at a border, the loaded vector is permuted.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "common/unroll.h"

namespace pylatent::neighborhood {
namespace {

// Rows of lanes at once, where there are registers for both: they meet nearly the same rows of the other side.
template <class S>
constexpr int kRows = S::width == 16 ? 2 : 1;

// One row of the other side, for up to kRows rows of lanes.
struct Products {
  int64_t dim, pitch;
  const float* other;       // [dim][pitch], from the first lane's first slot on
  const int32_t* shift;     // of each lane's slots against the first lane's
  const float* lanes[2];    // dots: [dim][width]; sums: weights [kernel][width]
  const float* initial[2];  // dots: [kernel][width]
  float* results[2];        // dots: [kernel][width]; sums: [dim][width], added to
};

// results[r][n] = initial[r][n] + sum over d of lanes[r][d] * other[d][n]
template <class S, int KERNEL, int ROWS, bool SHIFTED>
[[gnu::noinline]] void dots(const Products& job) {
  using F = typename S::F;
  constexpr int W = S::width;
  F sums[ROWS][KERNEL];
  PYLATENT_UNROLL
  for (int r = 0; r < ROWS; ++r) {
    PYLATENT_UNROLL_16
    for (int n = 0; n < KERNEL; ++n) sums[r][n] = S::load(job.initial[r] + n * W);
  }
  typename S::I shift = S::set_int(0);
  if constexpr (SHIFTED) shift = S::load(job.shift);
  const float *other = job.other, *first = job.lanes[0], *second = job.lanes[ROWS - 1];
  for (int64_t d = 0; d < job.dim; ++d, other += job.pitch, first += W, second += W) {
    const F lanes[2] = {S::load(first), S::load(second)};
    PYLATENT_UNROLL_16
    for (int n = 0; n < KERNEL; ++n) {
      F x = S::load(other + n);
      if constexpr (ROWS == 2) x = S::loaded(x);
      if constexpr (SHIFTED) x = S::permute(x, shift);
      PYLATENT_UNROLL
      for (int r = 0; r < ROWS; ++r) sums[r][n] = S::fma(lanes[r], x, sums[r][n]);
    }
  }
  PYLATENT_UNROLL
  for (int r = 0; r < ROWS; ++r) {
    PYLATENT_UNROLL_16
    for (int n = 0; n < KERNEL; ++n) S::store(job.results[r] + n * W, sums[r][n]);
  }
}

// results[r][d] += sum over n of lanes[r][n] * other[d][n]
template <class S, int KERNEL, int ROWS, bool SHIFTED>
[[gnu::noinline]] void sums(const Products& job) {
  using F = typename S::F;
  constexpr int W = S::width;
  F weights[ROWS][KERNEL];
  PYLATENT_UNROLL
  for (int r = 0; r < ROWS; ++r) {
    PYLATENT_UNROLL_16
    for (int n = 0; n < KERNEL; ++n) weights[r][n] = S::load(job.lanes[r] + n * W);
  }
  typename S::I shift = S::set_int(0);
  if constexpr (SHIFTED) shift = S::load(job.shift);
  const float* other = job.other;
  float *first = job.results[0], *second = job.results[ROWS - 1];
  for (int64_t d = 0; d < job.dim; ++d, other += job.pitch, first += W, second += W) {
    F sum[2] = {S::load(first), S::load(second)};
    PYLATENT_UNROLL_16
    for (int n = 0; n < KERNEL; ++n) {
      F x = S::load(other + n);
      if constexpr (ROWS == 2) x = S::loaded(x);
      if constexpr (SHIFTED) x = S::permute(x, shift);
      PYLATENT_UNROLL
      for (int r = 0; r < ROWS; ++r) sum[r] = S::fma(weights[r][n], x, sum[r]);
    }
    S::store(first, sum[0]);
    if constexpr (ROWS == 2) S::store(second, sum[1]);
  }
}

using Product = void (*)(const Products&);

// [rows - 1][shifted]
struct ProductsOfKernel {
  Product dots[2][2], sums[2][2];
};

template <class S, int KERNEL>
ProductsOfKernel products_of_kernel() {
  ProductsOfKernel found{{{dots<S, KERNEL, 1, false>, dots<S, KERNEL, 1, true>}},
                         {{sums<S, KERNEL, 1, false>, sums<S, KERNEL, 1, true>}}};
  if constexpr (kRows<S> == 2) {
    found.dots[1][0] = dots<S, KERNEL, 2, false>;
    found.dots[1][1] = dots<S, KERNEL, 2, true>;
    found.sums[1][0] = sums<S, KERNEL, 2, false>;
    found.sums[1][1] = sums<S, KERNEL, 2, true>;
  }
  return found;
}

template <class S>
ProductsOfKernel products_for(int64_t kernel) {
  switch (kernel) {
    case 3:
      return products_of_kernel<S, 3>();
    case 5:
      return products_of_kernel<S, 5>();
    case 7:
      return products_of_kernel<S, 7>();
    case 9:
      return products_of_kernel<S, 9>();
    case 11:
      return products_of_kernel<S, 11>();
    case 13:
      return products_of_kernel<S, 13>();
    default:
      throw std::invalid_argument("neighborhood_attention has kernels for odd windows from 3 to 13");
  }
}

}  // namespace
}  // namespace pylatent::neighborhood
