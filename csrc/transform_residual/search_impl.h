// The tables of a step's coefficients in a row of blocks, from the features that docs/format.md lists.
#pragma once

#include <cstdint>

#include "transform_residual/transform_residual_kernel.h"

namespace pylatent::transform_residual {
namespace {

constexpr int kBinBits = 6;

// to[x] += weight * from[x]
template <class T>
void add(int32_t weight, const T* __restrict from, int64_t width, int32_t* __restrict to) {
  if (weight == 0) return;
  for (int64_t x = 0; x < width; ++x) to[x] += weight * from[x];
}

// The same of the sum over the four neighbours of each place of a row of `plane`.
template <class T>
void add_sides(int32_t weight, const T* plane, int64_t row, int64_t height, int64_t width, int32_t* to) {
  if (weight == 0) return;
  const T* from = plane + row * width;
  if (row > 0) add(weight, from - width, width, to);
  if (row + 1 < height) add(weight, from + width, width, to);
  add(weight, from, width - 1, to + 1);
  add(weight, from + 1, width - 1, to);
}
void sum_bands(const int16_t* bands, int64_t count, int64_t blocks, int64_t columns, int32_t* to) {
  for (int64_t x = 0; x < columns; ++x) to[x] = 0;
  for (int64_t band = 0; band < count; ++band) add(1, bands + band * blocks, columns, to);
}

uint8_t table_of(const Search& job, int32_t expected) {
  int32_t number = job.classes - 1;
  if (expected < job.levels[number - 1]) {
    number = job.lowest[expected >> kBinBits];
    number += expected >= job.levels[number];
  }
  return job.numbers[number];
}

void find_row(const Search& job, int64_t row, int32_t* scratch) {
  const int64_t height = job.size.rows, width = job.size.columns, area = job.size.blocks, begin = row * width;
  const auto plane = [&](const int16_t* of, int64_t colour, int64_t band) {
    return of + (colour * kBands + band) * area;
  };
  const Step& step = job.step;
  const Weights& w = job.weights;
  int32_t *common = scratch, *expected = scratch + width;
  for (int64_t x = 0; x < width; ++x) common[x] = w.constant;
  add(w.nearest, job.nearest + begin, width, common);
  add_sides(w.around_nearest, job.nearest, row, height, width, common);
  for (int64_t band = 0; band < step.before; ++band) {
    add(w.lower, plane(job.sizes, step.colour, band) + begin, width, common);
  }
  add(w.mean, job.mean + begin, width, common);
  add_sides(w.around_mean, job.mean, row, height, width, common);
  add(w.busy, job.known.busy + step.colour * area + begin, width, common);
  for (int64_t band = step.first; band < step.last; ++band) {
    for (int64_t other = 0; other < step.colour; ++other) {
      add(w.others[other].sum, plane(job.sizes, other, band) + begin, width, common);
    }
    add_sides(w.sum_around, plane(job.sizes, step.colour, band), row, height, width, common);
  }
  const int64_t odd = step.second ? 1 : 0, blocks = (area + 1 - odd) / 2;
  const int64_t start = (row + odd) % 2;          // first column of the step's blocks
  uint8_t* out = job.to + (begin + 1 - odd) / 2;  // as many blocks are in the rows before
  for (int64_t band = step.first; band < step.last; ++band, out += blocks) {
    for (int64_t x = 0; x < width; ++x) expected[x] = common[x];
    add(w.parent, plane(job.sizes, step.colour, job.parents[band]) + begin, width, expected);
    add(w.near, plane(job.known.near, step.colour, band) + begin, width, expected);
    add(w.far, plane(job.known.far, step.colour, band) + begin, width, expected);
    add(w.first, plane(job.known.near, 0, band) + begin, width, expected);
    for (int64_t other = 0; other < step.colour; ++other) {
      add(w.others[other].own, plane(job.sizes, other, band) + begin, width, expected);
      add_sides(w.others[other].sides, plane(job.sizes, other, band), row, height, width, expected);
    }
    add_sides(w.around, plane(job.sizes, step.colour, band), row, height, width, expected);
    for (int64_t x = start, n = 0; x < width; x += 2, ++n) out[n] = table_of(job, expected[x]);
  }
}

}  // namespace
}  // namespace pylatent::transform_residual
