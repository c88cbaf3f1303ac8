// Transformed residuals (docs/format.md, "Transformed residual"): the integers of pylatent/transform_residual, sooner.
// Coefficients are int16 (3 colours, 64 bands in order, rows, columns of blocks); so are values, in steps, and `sizes`
// of what is coded so far. Everything runs at a SIMD level and on up to `threads` threads.
#pragma once

#include <cstdint>
#include <vector>

#include "common/cpu.h"

namespace pylatent::transform_residual {

constexpr int64_t kColours = 3, kSide = 8, kBands = kSide * kSide;
constexpr int32_t kUnit = 16;  // of a quantisation step, in which sizes are

struct Run {
  Simd level;
  int threads;
};

// Of a picture, or band of rows, in pixels; of its blocks, of which the last ones may be in part beyond it.
struct Size {
  int64_t height, width, rows, columns, blocks;
};
Size size_of(int64_t height, int64_t width);

// uint8 (3, height, width), rows without gaps; from one colour to the next: `plane`.
struct Pixels {
  const uint8_t* data;
  int64_t plane;
};

// Coefficients of pixels, less others where `less` has any.
void transform(Pixels pixels, Pixels less, Size size, Run run, int16_t* coefficients);

// Pixels and what values, times `step`, are worth; to: (3, height, width), `plane` from one colour to the next.
void restore(const int16_t* values, int32_t step, Pixels pixels, Size size, Run run, uint8_t* to, int64_t plane);

// What is known of every block: the coefficients that the codec decodes, in sixteenths of a step, up to two limits; and
// the mean of the nearer ones in a block, (3, rows, columns).
struct Known {
  int16_t *near, *far;
  int32_t* busy;
};
void know(const int16_t* coefficients, int32_t step, Size size, Run run, Known known);

// Bands first to last - 1, the group before them from `before` on, in one colour, and the blocks whose row and column
// add up to an even or, if `second`, an odd number.
struct Step {
  int64_t before, first, last, colour;
  bool second;
};

// Which table the next coefficients are coded with.
class Tables {
 public:
  // levels: expected sizes that each class but the first begins at, ascending, and more than 64 apart. numbers: of the
  // tables of all classes. parents: of all bands. Throws std::invalid_argument for what is not so.
  Tables(std::vector<int32_t> levels, std::vector<uint8_t> numbers, std::vector<int64_t> parents);

  // weights: a constant, then one a feature. to: (bands, blocks of the step), row by row. Throws std::invalid_argument
  // for another number of weights.
  void find(const int16_t* sizes, Known known, const Step& step, const std::vector<int32_t>& weights, Size size,
            Run run, uint8_t* to) const;

 private:
  std::vector<int32_t> levels_;
  std::vector<uint8_t> numbers_, lowest_;  // the latter: the class at the beginning of every 64 expected sizes
  std::vector<int64_t> parents_;
};

// Values of a step, (bands, blocks of the step), become known: into `coded`, and 16 times their sizes, at most 255,
// into `sizes`. Returns whether none is beyond `largest`; if not, nothing is of use.
bool put(const int32_t* values, int32_t largest, const Step& step, Size size, int threads, int16_t* coded,
         int16_t* sizes);

// What an encoder gains by coding each size up to `largest` instead of the next smaller one must be worth: squared
// steps, (tables, largest + 1).
struct Prices {
  const double* saved;
  int64_t tables;
  int32_t largest;
};

// Chooses values for coefficients, given the tables of the step, and puts them, as above: the nearest, or those next to
// them towards 0. Throws std::invalid_argument for a table that has no prices.
void choose(const int16_t* coefficients, int32_t quantum, const uint8_t* tables, const Prices& prices, const Step& step,
            Size size, int threads, int16_t* values, int16_t* coded, int16_t* sizes);

}  // namespace pylatent::transform_residual
