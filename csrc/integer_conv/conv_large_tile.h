// Tiles of 4x4 outputs: F(4x4, 3x3) at the points 0, +-r, +-2r and infinity with r^2 = 1/2, whose factors are rounded
// to 16 bits. It needs four times fewer products than the plain convolution; pylatent/codecs/large_tiles.py defines it.
//
// The spread is rounded in both passes, weights come transformed and rounded; the rest is exact modulo 2^32. Outputs of
// row i and column j are 2^((i + j) / 2) times too large, for which bias and multipliers of exponent i + j make up.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/unroll.h"
#include "integer_conv/conv_kernel.h"
#include "integer_conv/conv_kernel_impl.h"

namespace pylatent::integers {
namespace {

// Over 2^15: r, and the factors of the second pass, which bring each sum of magnitudes to 1.
constexpr int16_t kHalf = 1 << 14, kR = 23170;
constexpr int16_t kOuter[2] = {7280, 18200};                   // 1 and 5/2
constexpr int16_t kSmallPoint[4] = {6395, 12790, 4522, 9044};  // 1, 2, r, 2r
constexpr int16_t kLargePoint[4] = {9044, 4522, 12790, 6395};  // 1, 1/2, 2r, r

// The first pass, of a column: exact but for halves and multiples of r.
template <class S>
void transform_large(const typename S::H (&d)[6], typename S::H (&v)[6]) {
  using H = typename S::H;
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
template <class S>
void transform_and_scale(const typename S::H (&d)[6], typename S::H (&v)[6]) {
  using H = typename S::H;
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

template <class S>
void spread_large(const Spread& job) {
  using H = typename S::H;
  for (int64_t channel = 0; channel < job.pitch; channel += S::short_width) {
    const auto column = [&](int64_t number, H(&to)[6]) {
      H d[6];
      PYLATENT_UNROLL
      for (int row = 0; row < 6; ++row) d[row] = S::load_h(job.rows[row] + number * job.pitch + channel);
      transform_large<S>(d, to);
    };
    H columns[6][6];  // [column][position down]
    column(0, columns[0]);
    column(1, columns[1]);
    int16_t* to = job.v + channel;
    for (int64_t tile = 0; tile < job.tiles; ++tile, to += job.pitch) {
      PYLATENT_UNROLL
      for (int across = 2; across < 6; ++across) column(4 * tile + across, columns[across]);
      PYLATENT_UNROLL
      for (int down = 0; down < 6; ++down) {
        const H d[6] = {columns[0][down], columns[1][down], columns[2][down],
                        columns[3][down], columns[4][down], columns[5][down]};
        H v[6];
        transform_and_scale<S>(d, v);
        PYLATENT_UNROLL
        for (int across = 0; across < 6; ++across) S::store_h(to + (6 * down + across) * job.position, v[across]);
      }
      PYLATENT_UNROLL
      for (int down = 0; down < 6; ++down) {
        columns[0][down] = columns[4][down];
        columns[1][down] = columns[5][down];
      }
    }
  }
}

// A^T M, of a column or row of six: output i is 2^(i / 2) times too large.
template <class S>
void gather_large(const typename S::I (&m)[6], typename S::I (&out)[4]) {
  using I = typename S::I;
  const auto twice = [](I x) { return S::add(x, x); };
  const I sum = S::add(m[1], m[2]), difference = S::subtract(m[1], m[2]);
  const I sums = S::add(m[3], m[4]), differences = twice(S::subtract(m[3], m[4]));
  out[0] = S::add(S::add(m[0], sum), sums);
  out[1] = S::add(difference, differences);
  out[2] = S::add(sum, twice(twice(sums)));
  out[3] = S::add(difference, twice(twice(S::add(differences, m[5]))));
}

template <class S>
void finish_large(const Finish& job) {
  using I = typename S::I;
  const int64_t width = job.units * kUnit;
  for (int first = 0; first < width; first += S::width) {
    const Requantise<S> requantise(job, first);
    for (int64_t tile = 0; tile < job.tiles; ++tile) {
      const int32_t* m = job.sums + tile * width + first;
      I half[4][6];  // A^T M
      PYLATENT_UNROLL
      for (int across = 0; across < 6; ++across) {
        I down[6], out[4];
        PYLATENT_UNROLL
        for (int i = 0; i < 6; ++i) down[i] = S::load(m + (6 * i + across) * job.position);
        gather_large<S>(down, out);
        PYLATENT_UNROLL
        for (int row = 0; row < 4; ++row) half[row][across] = out[row];
      }
      const int columns = static_cast<int>(std::min<int64_t>(4, job.columns - 4 * tile));
      for (int row = 0; row < job.rows; ++row) {
        I out[4];
        gather_large<S>(half[row], out);
        for (int column = 0; column < columns; ++column) {
          const int64_t at = (row + column) * job.exponent + first;
          requantise.put(S::add(out[column], S::load(job.bias + at)), S::load(job.multiplier + at),
                         S::load(job.negative + at), row, 4 * tile + column);
        }
      }
    }
  }
}

// All kernels on vectors of S but those of bytes.
template <class S>
Kernels kernels_on(void (*multiply)(const Product&), const ByteKernels* bytes = nullptr) {
  return {multiply, spread<S>, finish_tiles<S>, finish_pixels<S>, spread_large<S>, finish_large<S>, bytes};
}

}  // namespace
}  // namespace pylatent::integers
