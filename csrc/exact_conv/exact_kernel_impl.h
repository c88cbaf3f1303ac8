// The kernels on vectors of S, the policies of integer_conv/conv_kernel_impl.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "common/unroll.h"
#include "exact_conv/exact_kernel.h"

namespace pylatent::exact {
namespace {

// A sum s below 2^31 - 2^10 to the grid: floor((s m + 2^9 2^10) / 2^20) with m = slope for s < 0, else 2^10.
template <class S>
class Requantise {
 public:
  explicit Requantise(int32_t slope) : linear_(slope == 1 << kSlopeBits), slope_(S::set_int(slope)) {}

  typename S::I operator()(typename S::I s) const {
    using I = typename S::I;
    if (!linear_) {
      // s = 2^10 high + low, so floor(s m / 2^10) = m high + floor(m low / 2^10), which fits 32 bits.
      const I high = S::template shift_right<kSlopeBits>(s);
      const I low = S::bit_and(s, S::set_int((1 << kSlopeBits) - 1));
      const I scaled = S::add(S::multiply(slope_, high), S::template shift_right<kSlopeBits>(S::multiply(slope_, low)));
      // slope <= 2^10: the scaled one is not smaller where s is negative, and not larger elsewhere.
      s = S::max(s, S::min(scaled, S::set_int(0)));
    }
    const I rounded = S::template shift_right<kWeightBits>(S::add(s, S::set_int(1 << (kWeightBits - 1))));
    return S::max(S::min(rounded, S::set_int(kLimit)), S::set_int(-kLimit));
  }

 private:
  bool linear_;
  typename S::I slope_;
};

// The sums of V vectors of output channels, from channel `first` of the block on, beginning with `bias` (0 if null);
// `delta` is added to the pixels.
template <class S, int V>
void sum_products(const Tile<int16_t>& tile, int first, int64_t delta, const int32_t* bias,
                  int32_t (&out)[kPixels][V * S::width]) {
  using I = typename S::I;
  I sums[kPixels][V];  // in registers
  PYLATENT_UNROLL
  for (int v = 0; v < V; ++v) {
    const I start = bias == nullptr ? S::set_int(0) : S::load(bias + v * S::width);
    PYLATENT_UNROLL
    for (int m = 0; m < kPixels; ++m) sums[m][v] = start;
  }
  const int16_t* weights = tile.weights + 2 * first;
  const int64_t stride = 2 * tile.units * kUnit;
  for (int64_t tap = 0; tap < tile.tap_count; ++tap) {
    const int16_t* a[kPixels];
    PYLATENT_UNROLL
    for (int m = 0; m < kPixels; ++m) a[m] = tile.pixels[m] + tile.taps[tap] + delta;
    for (int64_t channel = 0; channel < tile.channels; channel += 2) {
      I w[V];
      PYLATENT_UNROLL
      for (int v = 0; v < V; ++v) w[v] = S::load_pairs(weights + 2 * v * S::width);
      PYLATENT_UNROLL
      for (int m = 0; m < kPixels; ++m) {
        const I pair = S::pair(a[m] + channel);
        PYLATENT_UNROLL
        for (int v = 0; v < V; ++v) sums[m][v] = S::dot(sums[m][v], pair, w[v]);
      }
      weights += stride;
    }
  }
  PYLATENT_UNROLL
  for (int m = 0; m < kPixels; ++m) {
    PYLATENT_UNROLL
    for (int v = 0; v < V; ++v) S::store(out[m] + v * S::width, sums[m][v]);
  }
}

template <class S, int V>
struct Narrow {
  static int32_t run(const Tile<int16_t>& tile, int first) {
    using I = typename S::I;
    int32_t sums[kPixels][V * S::width];
    sum_products<S, V>(tile, first, 0, tile.narrow_bias + first, sums);
    const Requantise<S> requantise(tile.slope);
    I largest = S::set_int(0);
    for (int m = 0; m < kPixels; ++m) {
      for (int j = 0; j < V * S::width; j += S::width) {
        const I q = requantise(S::load(sums[m] + j));
        S::store(tile.out[m] + first + j, q);
        largest = S::max(largest, S::max(q, S::subtract(S::set_int(0), q)));
      }
    }
    int32_t lanes[S::width], most = 0;
    S::store(lanes, largest);
    for (int32_t lane : lanes) most = std::max(most, lane);
    return most;
  }
};

// A sum below 2^43 to the grid.
inline int32_t requantise_wide(int64_t s, int32_t slope) {
  constexpr int shift = kSlopeBits + kWeightBits;
  const int64_t scaled = s * (s < 0 ? slope : 1 << kSlopeBits);
  return static_cast<int32_t>(std::clamp<int64_t>((scaled + (INT64_C(1) << (shift - 1))) >> shift, -kLimit, kLimit));
}

template <class S, int V>
struct Split {
  static int32_t run(const Tile<int16_t>& tile, int first) {
    constexpr int width = V * S::width;
    int32_t high[kPixels][width], low[kPixels][width];
    sum_products<S, V>(tile, first, 0, nullptr, high);
    sum_products<S, V>(tile, first, tile.low, nullptr, low);
    int32_t most = 0;
    for (int m = 0; m < kPixels; ++m) {
      for (int j = 0; j < width; ++j) {
        const int64_t s = int64_t{high[m][j]} * (1 << kSplitBits) + low[m][j] + tile.bias[first + j];
        const int32_t q = requantise_wide(s, tile.slope);
        tile.out[m][first + j] = q;
        most = std::max(most, std::abs(q));
      }
    }
    return most;
  }
};

// All units of the block, V vectors at a time.
template <template <class, int> class Pass, class S, int V>
int32_t all_units(const Tile<int16_t>& tile) {
  int32_t most = 0;
  for (int first = 0; first < tile.units * kUnit; first += V * S::width) {
    most = std::max(most, Pass<S, V>::run(tile, first));
  }
  return most;
}

// The same for vectors of a unit.
template <template <class, int> class Pass, class S>
int32_t by_units(const Tile<int16_t>& tile) {
  switch (tile.units) {
    case 1:
      return Pass<S, 1>::run(tile, 0);
    case 2:
      return Pass<S, 2>::run(tile, 0);
    case 3:
      return Pass<S, 3>::run(tile, 0);
    default:
      return Pass<S, 4>::run(tile, 0);
  }
}

// In float64: every product and sum is an integer below 2^53.
int32_t wide_tile(const Tile<int32_t>& tile) {
  int32_t most = 0;
  for (int m = 0; m < kPixels; ++m) {
    for (int first = 0; first < tile.units * kUnit; first += kUnit) {
      double sums[kUnit];
      for (int j = 0; j < kUnit; ++j) sums[j] = static_cast<double>(tile.bias[first + j]);
      const int32_t* weights = tile.weights + 2 * first;
      const int64_t stride = 2 * tile.units * kUnit;
      for (int64_t tap = 0; tap < tile.tap_count; ++tap) {
        const int32_t* a = tile.pixels[m] + tile.taps[tap];
        for (int64_t channel = 0; channel < tile.channels; channel += 2) {
          const double even = a[channel], odd = a[channel + 1];
          for (int j = 0; j < kUnit; ++j) sums[j] += even * weights[2 * j] + odd * weights[2 * j + 1];
          weights += stride;
        }
      }
      for (int j = 0; j < kUnit; ++j) {
        const int32_t q = requantise_wide(static_cast<int64_t>(sums[j]), tile.slope);
        tile.out[m][first + j] = q;
        most = std::max(most, std::abs(q));
      }
    }
  }
  return most;
}

}  // namespace
}  // namespace pylatent::exact
