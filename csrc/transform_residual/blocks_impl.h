// Pixels to coefficients, values to pixels, and what is known of blocks beforehand: a row of blocks at a time.
#pragma once

#include <cstdint>

#include "transform_residual/cosine_impl.h"
#include "transform_residual/transform_residual_kernel.h"

namespace pylatent::transform_residual {
namespace {

constexpr double kColourBasis[kColours][kColours] = {{2365, 2365, 2365}, {2896, 0, -2896}, {-1672, 3344, -1672}};
constexpr int32_t kNear = 256, kFar = 4080;  // sixteenths of a step, up to which they count

// Places of a block, by rows, of the bands in the order of u + v, then of u.
struct Order {
  int place[kBands];

  constexpr Order() : place() {
    int n = 0;
    for (int frequency = 0; frequency < 2 * kSide - 1; ++frequency) {
      for (int u = 0; u < kSide; ++u) {
        const int v = frequency - u;
        if (v >= 0 && v < kSide) place[n++] = static_cast<int>(kSide) * u + v;
      }
    }
  }
};
constexpr Order kOrder;

constexpr int kPixels = static_cast<int>(kSide) * kLanes;  // in a row of kLanes blocks

template <class T>
T smaller(T a, T b) {
  return a < b ? a : b;
}

template <class T>
T larger(T a, T b) {
  return a > b ? a : b;
}

// Those from column `first` on in a row of one colour, which goes on with its last one.
void fetch(Pixels pixels, int64_t colour, int64_t y, int64_t first, int64_t width, int16_t* to) {
  const uint8_t* row = pixels.data + colour * pixels.plane + y * width;
  const int count = static_cast<int>(smaller(width - first, int64_t{kPixels}));
  for (int x = 0; x < count; ++x) to[x] = row[first + x];
  for (int x = count; x < kPixels; ++x) to[x] = row[width - 1];
}

void transform_row(const Transform& job, int64_t row) {
  const int64_t columns = job.size.columns, area = job.size.blocks;
  alignas(64) int16_t pixels[kColours][kBands][kLanes];
  alignas(64) Lanes blocks[kBands], scratch[kBands];
  for (int64_t first = 0; first < columns; first += kLanes) {
    for (int64_t colour = 0; colour < kColours; ++colour) {
      for (int64_t i = 0; i < kSide; ++i) {
        const int64_t y = smaller(kSide * row + i, job.size.height - 1);
        int16_t line[kPixels], less[kPixels];
        fetch(job.pixels, colour, y, kSide * first, job.size.width, line);
        if (job.less.data != nullptr) {
          fetch(job.less, colour, y, kSide * first, job.size.width, less);
          for (int x = 0; x < kPixels; ++x) line[x] = static_cast<int16_t>(line[x] - less[x]);
        }
        for (int64_t j = 0; j < kSide; ++j) {
          for (int n = 0; n < kLanes; ++n) pixels[colour][kSide * i + j][n] = line[kSide * n + j];
        }
      }
    }
    const int count = static_cast<int>(smaller(columns - first, int64_t{kLanes}));
    for (int64_t colour = 0; colour < kColours; ++colour) {
      const double* basis = kColourBasis[colour];
      for (int64_t place = 0; place < kBands; ++place) {
        for (int n = 0; n < kLanes; ++n) {
          blocks[place][n] =
              basis[0] * pixels[0][place][n] + basis[1] * pixels[1][place][n] + basis[2] * pixels[2][place][n];
        }
      }
      blocks_to_frequencies(blocks, scratch);
      int16_t* to = job.coefficients + colour * kBands * area + row * columns + first;
      for (int64_t band = 0; band < kBands; ++band, to += area) {
        const double* found = blocks[kOrder.place[band]];
        int16_t whole[kLanes];
        for (int n = 0; n < kLanes; ++n) whole[n] = static_cast<int16_t>(static_cast<int32_t>(rounded<35>(found[n])));
        for (int n = 0; n < count; ++n) to[n] = whole[n];
      }
    }
  }
}

void restore_row(const Restoration& job, int64_t row) {
  const int64_t width = job.size.width, columns = job.size.columns, area = job.size.blocks;
  const int64_t height = smaller(job.size.height - kSide * row, kSide);
  alignas(64) Lanes blocks[kColours][kBands], scratch[kBands];
  alignas(64) int16_t found[kBands][kLanes];
  for (int64_t first = 0; first < columns; first += kLanes) {
    const int count = static_cast<int>(smaller(columns - first, int64_t{kLanes}));
    for (int64_t colour = 0; colour < kColours; ++colour) {
      const int16_t* from = job.values + colour * kBands * area + row * columns + first;
      for (int64_t band = 0; band < kBands; ++band, from += area) {
        int16_t values[kLanes] = {};
        for (int n = 0; n < count; ++n) values[n] = from[n];
        double* to = blocks[colour][kOrder.place[band]];
        for (int n = 0; n < kLanes; ++n) to[n] = values[n] * job.step;
      }
      blocks_to_places(blocks[colour], scratch);
      for (int64_t place = 0; place < kBands; ++place) {
        for (int n = 0; n < kLanes; ++n) blocks[colour][place][n] = rounded<23>(blocks[colour][place][n]);
      }
    }
    const int pixels = static_cast<int>(smaller(width - kSide * first, int64_t{kPixels}));
    for (int64_t colour = 0; colour < kColours; ++colour) {
      const double basis[] = {kColourBasis[0][colour], kColourBasis[1][colour], kColourBasis[2][colour]};
      for (int64_t place = 0; place < kBands; ++place) {
        for (int n = 0; n < kLanes; ++n) {
          const double fine =
              basis[0] * blocks[0][place][n] + basis[1] * blocks[1][place][n] + basis[2] * blocks[2][place][n];
          found[place][n] =
              static_cast<int16_t>(static_cast<int32_t>(smaller(larger(rounded<18>(fine), -255.0), 255.0)));
        }
      }
      for (int64_t i = 0; i < height; ++i) {
        const int64_t at = (kSide * row + i) * width + kSide * first;
        const uint8_t* from = job.pixels.data + colour * job.pixels.plane + at;
        uint8_t* to = job.to + colour * job.plane + at;
        int16_t line[kPixels];
        for (int n = 0; n < kLanes; ++n) {
          for (int64_t j = 0; j < kSide; ++j) line[kSide * n + j] = found[kSide * i + j][n];
        }
        for (int x = 0; x < pixels; ++x) {
          const int16_t sum = static_cast<int16_t>(from[x] + line[x]);
          to[x] = static_cast<uint8_t>(smaller(larger(sum, int16_t{0}), int16_t{255}));
        }
      }
    }
  }
}

void know_row(const Knowledge& job, int64_t row) {
  const int64_t columns = job.size.columns, area = job.size.blocks;
  const float step = static_cast<float>(job.step);
  for (int64_t colour = 0; colour < kColours; ++colour) {
    int64_t at = colour * kBands * area + row * columns;
    int32_t* busy = job.known.busy + colour * area + row * columns;
    for (int64_t x = 0; x < columns; ++x) job.known.near[at + x] = job.known.far[at + x] = 0, busy[x] = 0;
    for (int64_t band = 1; band < kBands; ++band) {  // brightness tells nothing
      at += area;
      const int16_t* from = job.coefficients + at;
      int16_t *near = job.known.near + at, *far = job.known.far + at;
      for (int64_t x = 0; x < columns; ++x) {
        // Floats round no quotient up to a whole number below 4096: it is at least 1 / 1023 away.
        const float coefficient = static_cast<float>(from[x] < 0 ? -from[x] : from[x]);
        const int32_t size = static_cast<int32_t>(coefficient * static_cast<float>(kUnit) / step);
        near[x] = static_cast<int16_t>(smaller(size, kNear));
        far[x] = static_cast<int16_t>(smaller(size, kFar));
        busy[x] += near[x];
      }
    }
    for (int64_t x = 0; x < columns; ++x) busy[x] /= static_cast<int32_t>(kBands);
  }
}

}  // namespace
}  // namespace pylatent::transform_residual
