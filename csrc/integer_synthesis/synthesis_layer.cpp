#include "integer_synthesis/synthesis_layer.h"

#include <algorithm>
#include <cstdlib>

#include "common/checks.h"

namespace pylatent::integers {
namespace {

// 4 G w G^T, for F(2x2, 3x3).
void transform_kernel(const int16_t* w, int64_t (&u)[kPositions]) {
  constexpr int g[4][3] = {{2, 0, 0}, {1, 1, 1}, {1, -1, 1}, {0, 0, 2}};
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      u[4 * i + j] = 0;
      for (int y = 0; y < 3; ++y) {
        for (int x = 0; x < 3; ++x) u[4 * i + j] += int64_t{g[i][y]} * g[j][x] * w[3 * y + x];
      }
    }
  }
}

}  // namespace

Layer::Layer(const LayerShape& shape_, const int16_t* weight, const int32_t* bias_, const int32_t* multiplier_,
             const int32_t* negative_, bool last)
    : shape(shape_), depth(round_up(shape_.inputs, 2)), positions(shape_.kernel == 1 ? 1 : kPositions) {
  constexpr int64_t kMost = 1 << 20;
  for (int64_t extent : {shape.inputs, shape.outputs, shape.shuffle})
    check_range("a size of a layer", extent, 1, kMost);
  if (shape.kernel != 1) check_equal("size of a kernel", shape.kernel, 3);
  check_equal("outputs modulo shuffle^2", shape.outputs % (shape.shuffle * shape.shuffle), 0);
  const int64_t pixels = shape.shuffle * shape.shuffle, colours = shape.outputs / pixels;
  spread = last ? 1 : shape.shuffle;
  channels = last ? shape.outputs : colours;

  // Which output of the convolution stands where: those of a pixel together, in whole units unless it is the last
  // layer.
  std::vector<int64_t> origins;
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    if (!last && pixel > 0) origins.resize(static_cast<size_t>(pixel * round_up(colours, kUnit)), -1);
    for (int64_t colour = 0; colour < colours; ++colour) origins.push_back(colour * pixels + pixel);
  }
  origins.resize(static_cast<size_t>(round_up(static_cast<int64_t>(origins.size()), kUnit)), -1);
  place_units(origins);

  const int64_t all = static_cast<int64_t>(origins.size());
  weights = allocate<int16_t>(all * positions * depth);
  std::fill_n(weights.get(), all * positions * depth, int16_t{0});
  bias.assign(static_cast<size_t>(all), 0);
  negative = bias;
  multiplier = bias;
  for (const Block& block : blocks) {
    const int64_t width = block.units * kUnit;
    for (int64_t j = 0; j < width; ++j) {
      const int64_t origin = origins[static_cast<size_t>(block.first + j)];
      if (origin < 0) continue;
      const size_t at = static_cast<size_t>(block.first + j);
      bias[at] = bias_[origin];
      multiplier[at] = multiplier_[origin];
      negative[at] = negative_[origin];
      check_range("multiplier", multiplier[at], 0, INT32_MAX);
      check_range("multiplier of negative sums", negative[at], 0, INT32_MAX);
      for (int64_t input = 0; input < shape.inputs; ++input) {
        const int16_t* w = weight + (origin * shape.inputs + input) * shape.kernel * shape.kernel;
        int64_t u[kPositions] = {*w};
        if (shape.kernel == 3) transform_kernel(w, u);
        for (int64_t position = 0; position < positions; ++position) {
          check_range("a weight", u[position], -INT16_MAX, INT16_MAX);
          weights[block.weights + position * depth * width + (input / 2 * width + j) * 2 + input % 2] =
              static_cast<int16_t>(u[position]);
        }
      }
    }
  }
}

void Layer::place_units(const std::vector<int64_t>& origins) {
  const int64_t count = static_cast<int64_t>(origins.size()) / kUnit;
  const int64_t of_pixel = round_up(channels, kUnit) / kUnit;
  for (int64_t unit = 0; unit < count; ++unit) {
    const int64_t pixel = unit / of_pixel;
    units.push_back({pixel / spread, pixel % spread, unit % of_pixel * kUnit});
  }
  const int64_t parts = (count + kMostUnits - 1) / kMostUnits;
  for (int64_t part = 0; part < parts; ++part) {  // blocks of nearly the same number of units
    const int64_t first = count * part / parts, end = count * (part + 1) / parts;
    blocks.push_back({first * kUnit, first * kUnit * positions * depth, static_cast<int>(end - first)});
  }
}

}  // namespace pylatent::integers
