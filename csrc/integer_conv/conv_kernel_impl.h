// The kernels on vectors of S, a SIMD policy (common/simd_scalar.h) with some operations more:
//   load_pairs(p)             a pair of int16 per lane
//   dot(sum, a, w)            sum + a[0] w[0] + a[1] w[1] per lane, for pairs of int16
//   pair(p)                   the pair at p in every lane
//   multiply(a, b)            the lower 32 bits of each product
//   multiply_high(s, m)       (s m + 2^31) >> 32, for m >= 0
//   by_sign(s, a, b)          a where s < 0, else b
//   load_short, store_short   `width` int16
//   S::H, load_h, store_h, set_h, add_h, subtract_h    vectors of `short_width` int16
//   scale_h(x, c)             (x c + 2^14) >> 15, for c > -2^15
#pragma once

#include <cstdint>

#include "common/unroll.h"
#include "integer_conv/conv_kernel.h"

namespace pylatent::integers {
namespace {

// V vectors of sums of kRows rows, from output `first` of the block on.
template <class S, int V>
void multiply_rows(const Product& product, const int16_t* const* rows, int first, int32_t* out) {
  using I = typename S::I;
  I sums[kRows][V];  // in registers
  PYLATENT_UNROLL
  for (int m = 0; m < kRows; ++m) {
    PYLATENT_UNROLL
    for (int v = 0; v < V; ++v) sums[m][v] = S::set_int(0);
  }
  const int16_t* weights = product.weights + 2 * first;
  const int64_t stride = 2 * product.units * kUnit;
  for (int64_t tap = 0; tap < product.taps; ++tap) {
    const int16_t* a[kRows];
    PYLATENT_UNROLL
    for (int m = 0; m < kRows; ++m) a[m] = rows[tap * product.count + m];
    for (int64_t channel = 0; channel < product.channels; channel += 2) {
      I w[V];
      PYLATENT_UNROLL
      for (int v = 0; v < V; ++v) w[v] = S::load_pairs(weights + 2 * v * S::width);
      PYLATENT_UNROLL
      for (int m = 0; m < kRows; ++m) {
        const I pair = S::pair(a[m] + channel);
        PYLATENT_UNROLL
        for (int v = 0; v < V; ++v) sums[m][v] = S::dot(sums[m][v], pair, w[v]);
      }
      weights += stride;
    }
  }
  PYLATENT_UNROLL
  for (int m = 0; m < kRows; ++m) {
    PYLATENT_UNROLL
    for (int v = 0; v < V; ++v) S::store(out + m * product.units * kUnit + first + v * S::width, sums[m][v]);
  }
}

// V vectors of sums at a time.
template <class S, int V>
void multiply(const Product& product) {
  const int width = product.units * kUnit;
  for (int64_t row = 0; row < product.count; row += kRows) {
    for (int first = 0; first < width; first += V * S::width) {
      multiply_rows<S, V>(product, product.rows + row, first, product.out + row * width);
    }
  }
}

// A block's units at once.
template <class S>
void multiply_block(const Product& product) {
  static_assert(S::width == kUnit, "a unit is a vector");
  switch (product.units) {
    case 1:
      return multiply<S, 1>(product);
    case 2:
      return multiply<S, 2>(product);
    case 3:
      return multiply<S, 3>(product);
    default:
      return multiply<S, 4>(product);
  }
}

}  // namespace
}  // namespace pylatent::integers
