// Tiles of 4x4 outputs: F(4x4, 3x3) at the points 0, +-r, +-2r and infinity with r^2 = 1/2, whose factors are rounded
// to 16 bits. It needs four times fewer products than the plain convolution; pylatent/codecs/large_tiles.py defines it.
//
// The spread is rounded in both passes, weights come transformed and rounded; the rest is exact modulo 2^32. Outputs of
// row i and column j are 2^((i + j) / 2) times too large, for which bias and multipliers of exponent i + j make up.
#pragma once

#include <cstdint>

#include "integer_conv/conv_kernel.h"

namespace pylatent::integers {
namespace {

// Over 2^15: r, and the factors of the second pass, which bring each sum of magnitudes to 1.
constexpr int16_t kHalf = 1 << 14, kR = 23170;
constexpr int16_t kOuter[2] = {7280, 18200};                   // 1 and 5/2
constexpr int16_t kSmallPoint[4] = {6395, 12790, 4522, 9044};  // 1, 2, r, 2r
constexpr int16_t kLargePoint[4] = {9044, 4522, 12790, 6395};  // 1, 1/2, 2r, r

// As conv_tile_kernels.h takes tiles.
template <class S>
struct LargeTile {
  using H = typename S::H;
  using I = typename S::I;
  static constexpr int side = 4, reads = kLargeSides, exponents = kExponents;

  // The first pass, of a column: exact but for halves and multiples of r.
  static void spread_column(const H (&d)[6], H (&v)[6]) {
    const H half = S::set_h(kHalf), r = S::set_h(kR);
    const auto twice = [](H x) { return S::add_h(x, x); };
    const auto outer = [&](H a, H b, H c) {
      return S::subtract_h(S::subtract_h(S::add_h(a, c), twice(b)), S::scale_h(b, half));
    };
    v[0] = outer(d[0], d[2], d[4]);
    v[5] = outer(d[1], d[3], d[5]);
    const H even = S::subtract_h(d[4], twice(d[2])), odd = S::scale_h(S::subtract_h(d[3], twice(d[1])), r);
    v[1] = S::add_h(even, odd);
    v[2] = S::subtract_h(even, odd);
    const H evens = S::subtract_h(d[4], S::scale_h(d[2], half)), odds = S::scale_h(S::subtract_h(twice(d[3]), d[1]), r);
    v[3] = S::add_h(evens, odds);
    v[4] = S::subtract_h(evens, odds);
  }

  // The second pass, of a row, whose results fit 16 bits where its inputs do.
  static void spread_row(const H (&d)[6], H (&v)[6]) {
    const auto times = [](H x, int16_t factor) { return S::scale_h(x, S::set_h(factor)); };
    const auto outer = [&](H a, H b, H c) {
      return S::subtract_h(S::add_h(times(a, kOuter[0]), times(c, kOuter[0])), times(b, kOuter[1]));
    };
    const auto points = [&](const int16_t (&factor)[4], H& plus, H& minus) {
      const H even = S::subtract_h(times(d[4], factor[0]), times(d[2], factor[1]));
      const H odd = S::subtract_h(times(d[3], factor[2]), times(d[1], factor[3]));
      plus = S::add_h(even, odd);
      minus = S::subtract_h(even, odd);
    };
    v[0] = outer(d[0], d[2], d[4]);
    points(kSmallPoint, v[1], v[2]);
    points(kLargePoint, v[3], v[4]);
    v[5] = outer(d[1], d[3], d[5]);
  }

  // A^T M, of a column or row: output i is 2^(i / 2) times too large.
  static void gather(const I (&m)[6], I (&out)[4]) {
    const auto twice = [](I x) { return S::add(x, x); };
    const I sum = S::add(m[1], m[2]), difference = S::subtract(m[1], m[2]);
    const I sums = S::add(m[3], m[4]), differences = twice(S::subtract(m[3], m[4]));
    out[0] = S::add(S::add(m[0], sum), sums);
    out[1] = S::add(difference, differences);
    out[2] = S::add(sum, twice(twice(sums)));
    out[3] = S::add(difference, twice(twice(S::add(differences, m[5]))));
  }
  static I sum(I gathered) { return gathered; }
};

}  // namespace
}  // namespace pylatent::integers
