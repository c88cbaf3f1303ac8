// Tiles of 2x2 outputs: F(2x2, 3x3), exact modulo 2^32 (conv_kernel.h).
#pragma once

#include "integer_conv/conv_kernel.h"

namespace pylatent::integers {
namespace {

// As conv_tile_kernels.h takes tiles.
template <class S>
struct SmallTile {
  using H = typename S::H;
  using I = typename S::I;
  static constexpr int side = 2, reads = 4, exponents = 1;

  // B^T d, of a column or row.
  static void spread_column(const H (&d)[4], H (&v)[4]) {
    v[0] = S::subtract_h(d[0], d[2]);
    v[1] = S::add_h(d[1], d[2]);
    v[2] = S::subtract_h(d[2], d[1]);
    v[3] = S::subtract_h(d[1], d[3]);
  }
  static void spread_row(const H (&d)[4], H (&v)[4]) { spread_column(d, v); }

  // A^T M, of a column or row.
  static void gather(const I (&m)[4], I (&out)[2]) {
    out[0] = S::add(m[0], S::add(m[1], m[2]));
    out[1] = S::subtract(S::subtract(m[1], m[2]), m[3]);
  }
  static I sum(I gathered) { return S::template shift_right<2>(gathered); }
};

}  // namespace
}  // namespace pylatent::integers
