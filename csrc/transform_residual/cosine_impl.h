// A cosine transform of 8x8 places, of kLanes blocks at a time, in the scale of the format: products and sums of whole
// numbers below 2^53, which doubles hold exactly, in whatever order.
#pragma once

#include <cmath>
#include <cstdint>

namespace pylatent::transform_residual {
namespace {

constexpr int kLanes = 16;
using Lanes = double[kLanes];

constexpr double kHalf = 2896;  // 2^12 cos(4 pi / 16)
constexpr double kCosine[8] = {0, 4017, 3784, 3406, kHalf, 2276, 1567, 799};

// Eight places, `gap` apart, to as many frequencies.
template <int gap>
void to_frequencies(const Lanes* __restrict from, Lanes* __restrict to) {
  constexpr const double* c = kCosine;
  for (int i = 0; i < kLanes; ++i) {
    const double s0 = from[0][i] + from[7 * gap][i], d0 = from[0][i] - from[7 * gap][i];
    const double s1 = from[gap][i] + from[6 * gap][i], d1 = from[gap][i] - from[6 * gap][i];
    const double s2 = from[2 * gap][i] + from[5 * gap][i], d2 = from[2 * gap][i] - from[5 * gap][i];
    const double s3 = from[3 * gap][i] + from[4 * gap][i], d3 = from[3 * gap][i] - from[4 * gap][i];
    const double outer = s0 + s3, inner = s1 + s2, outer_less = s0 - s3, inner_less = s1 - s2;
    to[0][i] = kHalf * (outer + inner);
    to[gap][i] = c[1] * d0 + c[3] * d1 + c[5] * d2 + c[7] * d3;
    to[2 * gap][i] = c[2] * outer_less + c[6] * inner_less;
    to[3 * gap][i] = c[3] * d0 - c[7] * d1 - c[1] * d2 - c[5] * d3;
    to[4 * gap][i] = kHalf * (outer - inner);
    to[5 * gap][i] = c[5] * d0 - c[1] * d1 + c[7] * d2 + c[3] * d3;
    to[6 * gap][i] = c[6] * outer_less - c[2] * inner_less;
    to[7 * gap][i] = c[7] * d0 - c[5] * d1 + c[3] * d2 - c[1] * d3;
  }
}

// The transposed.
template <int gap>
void to_places(const Lanes* __restrict from, Lanes* __restrict to) {
  constexpr const double* c = kCosine;
  for (int i = 0; i < kLanes; ++i) {
    const double f1 = from[gap][i], f3 = from[3 * gap][i], f5 = from[5 * gap][i], f7 = from[7 * gap][i];
    const double whole = kHalf * (from[0][i] + from[4 * gap][i]), less = kHalf * (from[0][i] - from[4 * gap][i]);
    const double outer = c[2] * from[2 * gap][i] + c[6] * from[6 * gap][i];
    const double inner = c[6] * from[2 * gap][i] - c[2] * from[6 * gap][i];
    const double s0 = whole + outer, s1 = less + inner, s2 = less - inner, s3 = whole - outer;
    const double d0 = c[1] * f1 + c[3] * f3 + c[5] * f5 + c[7] * f7;
    const double d1 = c[3] * f1 - c[7] * f3 - c[1] * f5 - c[5] * f7;
    const double d2 = c[5] * f1 - c[1] * f3 + c[7] * f5 + c[3] * f7;
    const double d3 = c[7] * f1 - c[5] * f3 + c[3] * f5 - c[1] * f7;
    to[0][i] = s0 + d0, to[7 * gap][i] = s0 - d0;
    to[gap][i] = s1 + d1, to[6 * gap][i] = s1 - d1;
    to[2 * gap][i] = s2 + d2, to[5 * gap][i] = s2 - d2;
    to[3 * gap][i] = s3 + d3, to[4 * gap][i] = s3 - d3;
  }
}

// Rows and columns of blocks, (8 rows, 8 columns), in place; scratch: as large.
void blocks_to_frequencies(Lanes* blocks, Lanes* scratch) {
  for (int column = 0; column < 8; ++column) to_frequencies<8>(blocks + column, scratch + column);
  for (int row = 0; row < 8; ++row) to_frequencies<1>(scratch + 8 * row, blocks + 8 * row);
}

void blocks_to_places(Lanes* blocks, Lanes* scratch) {
  for (int column = 0; column < 8; ++column) to_places<8>(blocks + column, scratch + column);
  for (int row = 0; row < 8; ++row) to_places<1>(scratch + 8 * row, blocks + 8 * row);
}

// floor(x / 2^bits + 1/2)
template <int bits>
double rounded(double x) {
  return std::floor(x * (1.0 / (int64_t{1} << bits)) + 0.5);
}

}  // namespace
}  // namespace pylatent::transform_residual
