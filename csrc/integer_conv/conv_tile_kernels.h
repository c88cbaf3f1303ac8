// The kernels around the products, on vectors of S (conv_kernel_impl.h): of tiles T (conv_small_tile.h,
// conv_large_tile.h), and of pixels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "common/unroll.h"
#include "integer_conv/conv_kernel.h"
#include "integer_conv/conv_kernel_impl.h"
#include "integer_conv/conv_large_tile.h"
#include "integer_conv/conv_small_tile.h"

namespace pylatent::integers {
namespace {

template <class S, class T>
void spread(const Spread& job) {
  using H = typename S::H;
  constexpr int reads = T::reads, overlap = reads - T::side;
  for (int64_t channel = 0; channel < job.pitch; channel += S::short_width) {
    const auto column = [&](int64_t number, H(&to)[reads]) {
      H d[reads];
      PYLATENT_UNROLL
      for (int row = 0; row < reads; ++row) d[row] = S::load_h(job.rows[row] + number * job.pitch + channel);
      T::spread_column(d, to);
    };
    H columns[reads][reads];  // [column][position down]
    PYLATENT_UNROLL
    for (int across = 0; across < overlap; ++across) column(across, columns[across]);
    int16_t* to = job.v + channel;
    for (int64_t tile = 0; tile < job.tiles; ++tile, to += job.pitch) {
      PYLATENT_UNROLL
      for (int across = overlap; across < reads; ++across) column(T::side * tile + across, columns[across]);
      PYLATENT_UNROLL
      for (int down = 0; down < reads; ++down) {
        H d[reads], v[reads];
        PYLATENT_UNROLL
        for (int across = 0; across < reads; ++across) d[across] = columns[across][down];
        T::spread_row(d, v);
        PYLATENT_UNROLL
        for (int across = 0; across < reads; ++across)
          S::store_h(to + (reads * down + across) * job.position, v[across]);
      }
      PYLATENT_UNROLL
      for (int across = 0; across < overlap; ++across) {
        PYLATENT_UNROLL
        for (int down = 0; down < reads; ++down) columns[across][down] = columns[T::side + across][down];
      }
    }
  }
}

// One vector of a tile's sums: put(row, column, sum) for each of the outputs.
template <class S, class T, class Put>
void gather_tile(const int32_t* m, int64_t position, Put&& put) {
  using I = typename S::I;
  I half[T::side][T::reads];  // A^T M
  PYLATENT_UNROLL
  for (int across = 0; across < T::reads; ++across) {
    I down[T::reads], out[T::side];
    PYLATENT_UNROLL
    for (int i = 0; i < T::reads; ++i) down[i] = S::load(m + T::reads * i * position);
    T::gather(down, out);
    PYLATENT_UNROLL
    for (int row = 0; row < T::side; ++row) half[row][across] = out[row];
    m += position;
  }
  PYLATENT_UNROLL
  for (int row = 0; row < T::side; ++row) {
    I out[T::side];
    T::gather(half[row], out);
    PYLATENT_UNROLL
    for (int column = 0; column < T::side; ++column) put(row, column, T::sum(out[column]));
  }
}

// What follows the sums, for one vector of outputs: of each exponent.
template <class S, class T>
struct Follows {
  Follows(const Finish& job, int first) : low(S::set_int(job.low)), high(S::set_int(job.high)) {
    for (int exponent = 0; exponent < T::exponents; ++exponent) {
      const int64_t at = exponent * job.exponent + first;
      bias[exponent] = S::load(job.bias + at);
      multiplier[exponent] = S::load(job.multiplier + at);
      negative[exponent] = S::load(job.negative + at);
    }
  }

  // A result before anything is added.
  typename S::I operator()(typename S::I sum, int row, int column) const {
    const int exponent = T::exponents == 1 ? 0 : row + column;
    const typename S::I s = S::add(sum, bias[exponent]);
    return S::multiply_high(s, S::by_sign(s, negative[exponent], multiplier[exponent]));
  }
  typename S::I bounded(typename S::I result) const { return S::max(S::min(result, high), low); }

  typename S::I low, high;
  typename S::I bias[T::exponents], multiplier[T::exponents], negative[T::exponents];
};

template <class S, class W>
void store_result(W* to, typename S::I result) {
  if constexpr (std::is_same_v<W, int32_t>) {
    S::store(to, result);
  } else {
    S::store_short(to, result);
  }
}

// Whole tiles; W: int16_t or int32_t, what results are.
template <class S, class T, bool kSkip, class W>
void finish_whole(const Finish& job, int first, int64_t tiles, W* to) {
  const Follows<S, T> follows(job, first);
  const int64_t place = job.places[first / kUnit] + first % kUnit;
  const int64_t position = job.position, width = job.units * kUnit;
  const int64_t out_row = job.out_row, out_column = job.out_column;
  const int64_t skip_row = job.skip_row, skip_column = job.skip_column;
  const int32_t* m = job.sums + first;
  const int16_t* from = kSkip ? job.skip + place : nullptr;
  to += place;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int16_t* skip = from;
    W* out = to;
    gather_tile<S, T>(m, position, [&](int row, int column, typename S::I sum) {
      typename S::I result = follows(sum, row, column);
      if (kSkip) result = S::add(result, S::load_short(skip + column * skip_column));
      store_result<S>(out + column * out_column, follows.bounded(result));
      if (column + 1 == T::side) {
        out += out_row;
        if (kSkip) skip += skip_row;
      }
    });
    m += width;
    if (kSkip) from += T::side * skip_column;
    to += T::side * out_column;
  }
}

// Of one tile the outputs that there are.
template <class S, class T, class W>
void finish_part(const Finish& job, int first, int64_t tile, W* to) {
  const Follows<S, T> follows(job, first);
  const int64_t place = job.places[first / kUnit] + first % kUnit;
  gather_tile<S, T>(job.sums + tile * job.units * kUnit + first, job.position,
                    [&](int row, int column_of_tile, typename S::I sum) {
                      const int64_t column = T::side * tile + column_of_tile;
                      if (row >= job.rows || column >= job.columns) return;
                      typename S::I result = follows(sum, row, column_of_tile);
                      if (job.skip != nullptr) {
                        const int16_t* skip = job.skip + row * job.skip_row + column * job.skip_column + place;
                        result = S::add(result, S::load_short(skip));
                      }
                      W* out = to + row * job.out_row + column * job.out_column + place;
                      store_result<S>(out, follows.bounded(result));
                    });
}

template <class S, class T, class W>
void finish_all(const Finish& job, W* to) {
  const int64_t whole = job.rows >= T::side ? std::min(job.tiles, job.columns / T::side) : 0;
  for (int first = 0; first < job.units * kUnit; first += S::width) {
    job.skip != nullptr ? finish_whole<S, T, true>(job, first, whole, to)
                        : finish_whole<S, T, false>(job, first, whole, to);
    for (int64_t tile = whole; tile < job.tiles; ++tile) finish_part<S, T>(job, first, tile, to);
  }
}

template <class S, class T>
void finish(const Finish& job) {
  job.wide != nullptr ? finish_all<S, T>(job, job.wide) : finish_all<S, T>(job, job.out);
}

// A pixel's sums, as a tile of their own.
template <class S>
struct Pixel {
  using I = typename S::I;
  static constexpr int side = 1, reads = 1, exponents = 1;

  static void gather(const I (&m)[1], I (&out)[1]) { out[0] = m[0]; }
  static I sum(I gathered) { return gathered; }
};

// All kernels on vectors of S but those of bytes.
template <class S>
Kernels kernels_on(void (*multiply)(const Product&), const ByteKernels* bytes = nullptr) {
  return {multiply,
          spread<S, SmallTile<S>>,
          finish<S, SmallTile<S>>,
          finish<S, Pixel<S>>,
          spread<S, LargeTile<S>>,
          finish<S, LargeTile<S>>,
          bytes};
}

}  // namespace
}  // namespace pylatent::integers
