// The kernels of one SIMD level: each does one row of blocks.
#pragma once

#include <cstdint>

#include "transform_residual/transform_residual.h"

namespace pylatent::transform_residual {

struct Transform {
  Pixels pixels, less;
  Size size;
  int16_t* coefficients;
};

struct Restoration {
  const int16_t* values;
  int32_t step;
  Pixels pixels;
  Size size;
  uint8_t* to;
  int64_t plane;
};

struct Knowledge {
  const int16_t* coefficients;
  int32_t step;
  Size size;
  Known known;
};

// Of the features of a coefficient (docs/format.md), those that a step lacks being 0.
struct Weights {
  int32_t constant, nearest, around_nearest, parent, lower, near, far, mean, around_mean, busy, first;
  struct Other {
    int32_t own, sum, sides;
  } others[kColours - 1];
  int32_t around, sum_around;
};

struct Search {
  const int16_t* sizes;
  Known known;
  Step step;
  Size size;
  Weights weights;
  const int64_t* parents;
  const int32_t *nearest, *mean;  // sums over the group before, and means of `near` over this one, (rows, columns)
  const int32_t* levels;
  int32_t classes;
  const uint8_t *numbers, *lowest;
  uint8_t* to;
};

struct Kernels {
  void (*transform)(const Transform&, int64_t row);
  void (*restore)(const Restoration&, int64_t row);
  void (*know)(const Knowledge&, int64_t row);
  // Sums over bands first to last - 1 of a row: `columns` of each, `blocks` apart.
  void (*sum)(const int16_t* bands, int64_t count, int64_t blocks, int64_t columns, int32_t* to);
  void (*find)(const Search&, int64_t row, int32_t* scratch);  // of 2 x columns
};

Kernels scalar_kernels();
Kernels avx2_kernels();
Kernels avx512_kernels();

}  // namespace pylatent::transform_residual
