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

#include <algorithm>
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

// B^T d, of a column or row of four.
template <class S>
void transform(const typename S::H (&d)[4], typename S::H (&v)[4]) {
  v[0] = S::subtract_h(d[0], d[2]);
  v[1] = S::add_h(d[1], d[2]);
  v[2] = S::subtract_h(d[2], d[1]);
  v[3] = S::subtract_h(d[1], d[3]);
}

template <class S>
void spread(const Spread& job) {
  using H = typename S::H;
  for (int64_t channel = 0; channel < job.pitch; channel += S::short_width) {
    const auto column = [&](int64_t number, H(&to)[4]) {
      H d[4];
      PYLATENT_UNROLL
      for (int row = 0; row < 4; ++row) d[row] = S::load_h(job.rows[row] + number * job.pitch + channel);
      transform<S>(d, to);
    };
    H columns[4][4];  // [column][position down]
    column(0, columns[0]);
    column(1, columns[1]);
    int16_t* to = job.v + channel;
    for (int64_t tile = 0; tile < job.tiles; ++tile, to += job.pitch) {
      column(2 * tile + 2, columns[2]);
      column(2 * tile + 3, columns[3]);
      PYLATENT_UNROLL
      for (int down = 0; down < 4; ++down) {
        const H d[4] = {columns[0][down], columns[1][down], columns[2][down], columns[3][down]};
        H v[4];
        transform<S>(d, v);
        PYLATENT_UNROLL
        for (int across = 0; across < 4; ++across) S::store_h(to + (4 * down + across) * job.position, v[across]);
      }
      PYLATENT_UNROLL
      for (int down = 0; down < 4; ++down) {
        columns[0][down] = columns[2][down];
        columns[1][down] = columns[3][down];
      }
    }
  }
}

// What follows the sums, for one vector of outputs.
template <class S>
class Requantise {
 public:
  Requantise(const Finish& job, int first)
      : bias_(S::load(job.bias + first)),
        multiplier_(S::load(job.multiplier + first)),
        negative_(S::load(job.negative + first)),
        low_(S::set_int(job.low)),
        high_(S::set_int(job.high)),
        job_(job),
        place_(job.places[first / kUnit] + first % kUnit) {}

  void operator()(typename S::I sum, int row, int64_t column) const {
    put(S::add(sum, bias_), multiplier_, negative_, row, column);
  }

  // s: a sum with its bias.
  void put(typename S::I s, typename S::I multiplier, typename S::I negative, int row, int64_t column) const {
    typename S::I q = S::multiply_high(s, S::by_sign(s, negative, multiplier));
    if (job_.skip != nullptr) {
      q = S::add(q, S::load_short(job_.skip + row * job_.skip_row + column * job_.skip_column + place_));
    }
    q = S::max(S::min(q, high_), low_);
    const int64_t at = row * job_.out_row + column * job_.out_column + place_;
    if (job_.wide != nullptr) {
      S::store(job_.wide + at, q);
    } else {
      S::store_short(job_.out + at, q);
    }
  }

 private:
  typename S::I bias_, multiplier_, negative_, low_, high_;
  const Finish job_;
  int64_t place_;
};

template <class S>
void finish_pixels(const Finish& job) {
  const int64_t width = job.units * kUnit;
  for (int first = 0; first < width; first += S::width) {
    const Requantise<S> requantise(job, first);
    for (int64_t pixel = 0; pixel < job.columns; ++pixel) {
      requantise(S::load(job.sums + pixel * width + first), 0, pixel);
    }
  }
}

template <class S>
void finish_tiles(const Finish& job) {
  using I = typename S::I;
  const int64_t width = job.units * kUnit;
  for (int first = 0; first < width; first += S::width) {
    const Requantise<S> requantise(job, first);
    for (int64_t tile = 0; tile < job.tiles; ++tile) {
      const int32_t* m = job.sums + tile * width + first;
      I half[2][4];  // A^T M
      PYLATENT_UNROLL
      for (int across = 0; across < 4; ++across) {
        const auto at = [&](int down) { return S::load(m + (4 * down + across) * job.position); };
        const I middle = at(1), other = at(2);
        half[0][across] = S::add(at(0), S::add(middle, other));
        half[1][across] = S::subtract(S::subtract(middle, other), at(3));
      }
      const int columns = static_cast<int>(std::min<int64_t>(2, job.columns - 2 * tile));
      for (int row = 0; row < job.rows; ++row) {
        const I* h = half[row];
        const I four[2] = {S::add(h[0], S::add(h[1], h[2])), S::subtract(S::subtract(h[1], h[2]), h[3])};
        for (int column = 0; column < columns; ++column) {
          requantise(S::template shift_right<2>(four[column]), row, 2 * tile + column);
        }
      }
    }
  }
}

}  // namespace
}  // namespace pylatent::integers
