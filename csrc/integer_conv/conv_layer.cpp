#include "integer_conv/conv_layer.h"

#include <algorithm>

#include "common/checks.h"

namespace pylatent::integers {
namespace {

// 4 G w G^T of F(2x2, 3x3).
template <class W>
void transform_kernel(const W* w, int64_t (&u)[kPositions]) {
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

int64_t side_of(Tiles tiles) { return tiles == Tiles::none ? 1 : tiles == Tiles::small ? 2 : 4; }

int64_t positions_of(Tiles tiles) {
  return tiles == Tiles::none ? 1 : tiles == Tiles::small ? kPositions : kLargePositions;
}

bool has_tiles(const ConvShape& shape) {
  return !shape.transposed && shape.kernel_h == 3 && shape.kernel_w == 3 && shape.stride == 1 && shape.padding == 1;
}

}  // namespace

bool Layer::may_be_tiled(const ConvShape& shape, const int32_t* weight) {
  if (!has_tiles(shape)) return false;
  for (int64_t i = 0; i < shape.outputs * shape.inputs; ++i) {
    int64_t u[kPositions];
    transform_kernel(weight + 9 * i, u);
    for (int64_t value : u) {
      if (value < -INT16_MAX || value > INT16_MAX) return false;
    }
  }
  return true;
}

Layer::Layer(const ConvShape& shape_, const Follow& follow_, Tiles tiles_, const int16_t* weight, const int32_t* bias_,
             const int32_t* multiplier_, const int32_t* negative_)
    : Geometry(shape_),
      follow(follow_),
      tiles(tiles_),
      side(side_of(tiles_)),
      depth(round_up(shape_.inputs, 2)),
      positions(positions_of(tiles_)),
      small_inputs(tiles_ == Tiles::small),
      bytes_(std::make_unique<Bytes>()) {
  check_range("shuffle of a layer", follow.shuffle, 1, 1 << 10);
  check_equal("tiled form of a layer", tiled() && !has_tiles(shape), false);
  check_equal("outputs modulo shuffle^2", shape.outputs % (follow.shuffle * follow.shuffle), 0);
  if (out_step > 1) check_equal("shuffle of a transposed layer", follow.shuffle, 1);
  const std::vector<int64_t> origins = place_units();
  const size_t all = origins.size(), exponents = tiles == Tiles::large ? kExponents : 1;
  bias.assign(exponents * all, 0);
  multiplier = negative = bias;
  for (size_t at = 0; at < exponents * all; ++at) {
    if (origins[at % all] < 0) continue;
    const int64_t origin = static_cast<int64_t>(at / all) * shape.outputs + origins[at % all];
    bias[at] = bias_[origin];
    multiplier[at] = multiplier_[origin];
    negative[at] = negative_[origin];
    check_range("multiplier", multiplier[at], 0, INT32_MAX);
    check_range("multiplier of negative sums", negative[at], 0, INT32_MAX);
  }
  int64_t count = 0;
  for (Block& block : blocks) {
    block.weights = count;
    const int64_t taps = static_cast<int64_t>(phases[static_cast<size_t>(block.phase)].taps.size());
    count += (tiled() ? positions : taps) * depth * block.units * kUnit;
  }
  weights = allocate<int16_t>(count);
  std::fill_n(weights.get(), count, int16_t{0});
  for (const Block& block : blocks) pack(block, origins, weight);
}

// Fills units and blocks; returns which output of the convolution stands at each place, -1 for none. Those of a pixel
// lie together, in whole units.
std::vector<int64_t> Layer::place_units() {
  const int64_t pixels = follow.shuffle * follow.shuffle, colours = shape.outputs / pixels;
  spread = follow.together ? 1 : follow.shuffle * out_step;
  channels = follow.together ? shape.outputs : colours;
  std::vector<int64_t> origins;
  for (size_t phase = 0; phase < phases.size(); ++phase) {
    const int64_t before = static_cast<int64_t>(units.size());
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      for (int64_t colour = 0; colour < colours; ++colour) origins.push_back(colour * pixels + pixel);
      if (!follow.together || pixel + 1 == pixels) {
        origins.resize(static_cast<size_t>(round_up(static_cast<int64_t>(origins.size()), kUnit)), -1);
      }
      while (units.size() * kUnit < origins.size()) {
        const int64_t number = static_cast<int64_t>(units.size()) - before,
                      of_pixel = round_up(channels, kUnit) / kUnit;
        const int64_t place = number / of_pixel;
        units.push_back({phases[phase].row + place / follow.shuffle, phases[phase].column + place % follow.shuffle,
                         number % of_pixel * kUnit});
      }
    }
    const int64_t count = static_cast<int64_t>(units.size()) - before, parts = (count + kMostUnits - 1) / kMostUnits;
    for (int64_t part = 0; part < parts; ++part) {  // blocks of nearly the same number of units
      const int64_t first = count * part / parts, end = count * (part + 1) / parts;
      blocks.push_back({(before + first) * kUnit, 0, static_cast<int>(end - first), static_cast<int>(phase)});
    }
  }
  return origins;
}

void Layer::pack(const Block& block, const std::vector<int64_t>& origins, const int16_t* weight) {
  const Phase& phase = phases[static_cast<size_t>(block.phase)];
  const int64_t width = block.units * kUnit;
  const auto put = [&](int64_t part, int64_t input, int64_t j, int64_t value) {
    check_range("a weight", value, -INT16_MAX, INT16_MAX);
    weights[block.weights + part * depth * width + (input / 2 * width + j) * 2 + input % 2] =
        static_cast<int16_t>(value);
  };
  for (int64_t j = 0; j < width; ++j) {
    const int64_t origin = origins[static_cast<size_t>(block.first + j)];
    if (origin < 0) continue;
    for (int64_t input = 0; input < shape.inputs; ++input) {
      if (tiles == Tiles::large) {
        const int16_t* u = weight + (origin * shape.inputs + input) * kLargePositions;
        for (int64_t position = 0; position < kLargePositions; ++position) put(position, input, j, u[position]);
        continue;
      }
      if (tiles == Tiles::small) {
        int64_t u[kPositions];
        transform_kernel(weight + weight_of(origin, input, phase, phase.taps.front()), u);
        for (int64_t position = 0; position < kPositions; ++position) put(position, input, j, u[position]);
        continue;
      }
      int64_t part = 0;
      for (const Tap& tap : phase.taps) put(part++, input, j, weight[weight_of(origin, input, phase, tap)]);
    }
  }
}

int32_t Layer::weight_at(const Block& block, int64_t output, int64_t tap, int64_t input) const {
  const int64_t width = block.units * kUnit;
  const auto at = [&](int64_t part) -> int32_t {
    return weights[block.weights + part * depth * width + (input / 2 * width + output) * 2 + input % 2];
  };
  if (!tiled()) return at(tap);
  // transform_kernel's inverse: the first and last row of (2 G) are those of the kernel, doubled, and the second the
  // sum.
  const auto undo = [&](int64_t of_three, int32_t first, int32_t sum, int32_t last) {
    return of_three == 0 ? first / 2 : of_three == 2 ? last / 2 : sum - first / 2 - last / 2;
  };
  const auto row = [&](int64_t i) { return undo(tap % 3, at(4 * i), at(4 * i + 1), at(4 * i + 3)); };
  return undo(tap / 3, row(0), row(1), row(3));
}

const ByteWeights& Layer::bytes() const {
  std::call_once(bytes_->made, [&] { bytes_->weights.emplace(*this); });
  return *bytes_->weights;
}

int64_t Layer::first_tap_row() const {
  int64_t first = INT64_MAX;
  for (const Phase& phase : phases) {
    for (const Tap& tap : phase.taps) first = std::min(first, tap.row);
  }
  return first;
}

int64_t Layer::last_tap_row() const {
  int64_t last = INT64_MIN;
  for (const Phase& phase : phases) {
    for (const Tap& tap : phase.taps) last = std::max(last, tap.row);
  }
  return last;
}

}  // namespace pylatent::integers
