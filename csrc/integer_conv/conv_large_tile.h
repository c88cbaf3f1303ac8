// Tiles of 4x4 outputs: F(4x4, 3x3) at the points 0, +-r, +-2r and infinity with r^2 = 1/2, whose factors are rounded
// to 16 bits. It needs four times fewer products than the plain convolution; pylatent/codecs/large_tiles.py defines it.
//
// The spread is rounded in both passes, weights come transformed and rounded; the rest is exact modulo 2^32. Outputs of
// row i and column j are 2^((i + j) / 2) times too large, for which bias and multipliers of exponent i + j make up.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

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

// A^T M A of one vector of a tile's sums: put(row, column, output) for each of the 16.
template <class S, class Put>
void gather_tile(const int32_t* m, int64_t position, Put&& put) {
  using I = typename S::I;
  I half[4][6];  // A^T M
  PYLATENT_UNROLL
  for (int across = 0; across < 6; ++across) {
    I down[6], out[4];
    PYLATENT_UNROLL
    for (int i = 0; i < 6; ++i) down[i] = S::load(m + 6 * i * position);
    gather_large<S>(down, out);
    PYLATENT_UNROLL
    for (int row = 0; row < 4; ++row) half[row][across] = out[row];
    m += position;
  }
  PYLATENT_UNROLL
  for (int row = 0; row < 4; ++row) {
    I out[4];
    gather_large<S>(half[row], out);
    PYLATENT_UNROLL
    for (int column = 0; column < 4; ++column) put(row, column, out[column]);
  }
}

// What follows the sums of whole tiles, for one vector of outputs: of each exponent.
template <class S>
struct Follows {
  typename S::I bias[kExponents], multiplier[kExponents], negative[kExponents];
};

// Whole tiles of 16-bit activations, or of 32-bit results.
template <class S, bool kSkip, bool kWide>
void finish_whole(const Finish& job, int first, int64_t tiles) {
  using I = typename S::I;
  Follows<S> follows;
  for (int exponent = 0; exponent < kExponents; ++exponent) {
    const int64_t at = exponent * job.exponent + first;
    follows.bias[exponent] = S::load(job.bias + at);
    follows.multiplier[exponent] = S::load(job.multiplier + at);
    follows.negative[exponent] = S::load(job.negative + at);
  }
  const I low = S::set_int(job.low), high = S::set_int(job.high);
  const int64_t place = job.places[first / kUnit] + first % kUnit;
  const int64_t position = job.position, width = job.units * kUnit;
  const int64_t out_row = job.out_row, out_column = job.out_column;
  const int64_t skip_row = job.skip_row, skip_column = job.skip_column;
  const int32_t* m = job.sums + first;
  const int16_t* from = kSkip ? job.skip + place : nullptr;
  using T = std::conditional_t<kWide, int32_t, int16_t>;
  T* to;
  if constexpr (kWide) {
    to = job.wide + place;
  } else {
    to = job.out + place;
  }
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int16_t* skip = from;
    T* out = to;
    gather_tile<S>(m, position, [&](int row, int column, I sum) {
      const int exponent = row + column;
      const I s = S::add(sum, follows.bias[exponent]);
      I q = S::multiply_high(s, S::by_sign(s, follows.negative[exponent], follows.multiplier[exponent]));
      if (kSkip) q = S::add(q, S::load_short(skip + column * skip_column));
      q = S::max(S::min(q, high), low);
      if constexpr (kWide) {
        S::store(out + column * out_column, q);
      } else {
        S::store_short(out + column * out_column, q);
      }
      if (column == 3) {
        out += out_row;
        if (kSkip) skip += skip_row;
      }
    });
    m += width;
    if (kSkip) from += 4 * skip_column;
    to += 4 * out_column;
  }
}

template <class S>
void finish_large(const Finish& job) {
  using I = typename S::I;
  const int64_t whole = job.rows == 4 ? std::min(job.tiles, job.columns / 4) : 0;
  for (int first = 0; first < job.units * kUnit; first += S::width) {
    if (job.wide != nullptr) {
      job.skip != nullptr ? finish_whole<S, true, true>(job, first, whole)
                          : finish_whole<S, false, true>(job, first, whole);
    } else {
      job.skip != nullptr ? finish_whole<S, true, false>(job, first, whole)
                          : finish_whole<S, false, false>(job, first, whole);
    }
    const Requantise<S> requantise(job, first);
    for (int64_t tile = whole; tile < job.tiles; ++tile) {
      const int32_t* m = job.sums + tile * job.units * kUnit + first;
      gather_tile<S>(m, job.position, [&](int row, int column, I sum) {
        const int64_t at = (row + column) * job.exponent + first;
        if (row >= job.rows || 4 * tile + column >= job.columns) return;
        requantise.put(S::add(sum, S::load(job.bias + at)), S::load(job.multiplier + at), S::load(job.negative + at),
                       row, 4 * tile + column);
      });
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
