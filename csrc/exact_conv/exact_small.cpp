#include "exact_conv/exact_small.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace pylatent::exact {
namespace {

constexpr int32_t kOne = 1 << (32 - kWeightBits);  // multiplier of sums that are not negative
constexpr int64_t kLeastTiled = 1 << 11;           // inputs that the tiled form must take to be chosen
constexpr int64_t kLeast = 1 << 8;                 // inputs that a layer must take
constexpr size_t kTaps = 9;                        // of a layer in tiles
constexpr int kLittle = 1 << 8;                // how much farther a channel may reach before its room is asked for anew
constexpr int32_t kMostTiled = (1 << 13) - 1;  // of whose inputs four are summed
constexpr int64_t kMostTiledSum = (INT64_C(1) << 29) - 1;  // of the products; four times that, and the bias comes later

// Inputs lie between -high / kRatio and high behind a leaky ReLU, whose small side the limits need not cover, else
// between -high and high.
constexpr int64_t kRatio = 16;
constexpr int32_t kLeaky = 1 << (kSlopeBits - 5);  // the largest slope that counts as one

// kRatio times the largest sum of an output's products of one phase, for inputs whose high is 1; but for rounding.
int64_t largest_sum(const LayerWeights& layer, bool leaky) {
  const integers::Geometry geometry(layer.shape);
  int64_t largest = 1;
  for (const Phase& phase : geometry.phases) {
    for (int64_t output = 0; output < layer.shape.outputs; ++output) {
      int64_t above = 0, below = 0;
      for (const Tap& tap : phase.taps) {
        for (int64_t input = 0; input < layer.shape.inputs; ++input) {
          const int64_t w = layer.weight[static_cast<size_t>(geometry.weight_of(output, input, phase, tap))];
          above += std::max<int64_t>(w, 0);
          below -= std::min<int64_t>(w, 0);
        }
      }
      const int64_t small = leaky ? 1 : kRatio;
      largest = std::max({largest, kRatio * above + small * below, kRatio * below + small * above});
    }
  }
  return largest;
}

struct Plan {
  bool tiled, leaky;
  int64_t high;  // of inputs; below kLeast if there is no way

  int32_t low() const { return static_cast<int32_t>(leaky ? -high / kRatio : -high); }
};

Plan plan_of(const LayerWeights& layer, bool leaky) {
  int64_t bias = 0, largest = 0;
  for (int64_t b : layer.bias) bias = std::max(bias, std::abs(b));
  for (int32_t w : layer.weight) largest = std::max(largest, std::abs(int64_t{w}));
  if (largest > INT16_MAX || bias > INT32_MAX / 2) return {false, leaky, 0};
  const int64_t sum = largest_sum(layer, leaky);
  const int64_t tiled = std::min<int64_t>(kMostTiled, kRatio * kMostTiledSum / sum);
  if (tiled >= kLeastTiled && integers::Layer::may_be_tiled(layer.shape, layer.weight.data())) {
    return {true, leaky, tiled};
  }
  return {false, leaky, std::min<int64_t>(INT16_MAX, kRatio * (INT32_MAX - bias) / sum)};
}

template <class T>
void write_row(const int32_t* in, int64_t pitch, int64_t channels, Size size, int64_t row, T* out) {
  for (int64_t first = 0; first < channels; first += kUnit) {
    const int64_t count = std::min<int64_t>(kUnit, channels - first);
    T* to = out + (first * size.height + row) * size.width;
    for (int64_t column = 0; column < size.width; ++column) {
      const int32_t* from = in + column * pitch + first;
      for (int64_t j = 0; j < count; ++j) to[j * size.area() + column] = static_cast<T>(from[j]);
    }
  }
}

}  // namespace

std::optional<SmallLayers> small_layers(const std::vector<LayerWeights>& layers, int32_t limit) {
  std::vector<Plan> plans;
  for (size_t i = 0; i < layers.size(); ++i) {
    plans.push_back(plan_of(layers[i], i > 0 && layers[i - 1].slope <= kLeaky));
    if (plans.back().high < kLeast) return std::nullopt;
  }
  SmallLayers small{static_cast<int32_t>(plans.front().high), {}};
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerWeights& layer = layers[i];
    const bool last = i + 1 == layers.size();
    const int32_t most = limit == 0 ? kLimit : limit;
    const int32_t high = last ? most : static_cast<int32_t>(plans[i + 1].high);
    const integers::Follow follow{1, false, last ? -most : plans[i + 1].low(), high, false, last && limit == 0};
    const std::vector<int16_t> weight(layer.weight.begin(), layer.weight.end());
    const std::vector<int32_t> bias(layer.bias.begin(), layer.bias.end());
    const std::vector<int32_t> multiplier(bias.size(), kOne), negative(bias.size(), layer.slope * (kOne >> kSlopeBits));
    small.layers.emplace_back(layer.shape, follow, plans[i].tiled ? integers::Tiles::small : integers::Tiles::none,
                              weight.data(), bias.data(), multiplier.data(), negative.data());
  }
  return small;
}

ChannelRoom::ChannelRoom(const LayerWeights& layer) {
  for (size_t first = 0; first < layer.weight.size(); first += kTaps) {  // tiled layers are not transposed
    int32_t positive = 0, negative = 0;
    for (size_t tap = 0; tap < kTaps; ++tap) {
      positive += std::max(layer.weight[first + tap], 0);
      negative -= std::min(layer.weight[first + tap], 0);
    }
    positive_.push_back(positive);
    negative_.push_back(negative);
  }
}

bool Extent::within(const Extent& other) const {
  if (other.largest.size() < largest.size()) return false;
  for (size_t i = 0; i < largest.size(); ++i) {
    if (smallest[i] < other.smallest[i] || largest[i] > other.largest[i]) return false;
  }
  return true;
}

Extent Extent::grown(int percent, int by) const {
  Extent made = *this;
  const auto grow = [&](int16_t value) { return std::min(std::abs(value) * (100 + percent) / 100 + by, INT16_MAX); };
  for (int16_t& value : made.smallest) value = static_cast<int16_t>(-grow(value));
  for (int16_t& value : made.largest) value = static_cast<int16_t>(grow(value));
  return made;
}

bool ChannelRoom::holds(const Extent& extent) const {
  const size_t inputs = extent.largest.size();
  for (size_t first = 0; first < positive_.size(); first += inputs) {
    int64_t above = 0, below = 0;
    for (size_t input = 0; input < inputs; ++input) {
      const int64_t most = extent.largest[input], least = -extent.smallest[input];
      const int64_t positive = positive_[first + input], negative = negative_[first + input];
      above += most * positive + least * negative;
      below += most * negative + least * positive;
    }
    if (std::max(above, below) > kMostTiledSum) return false;
  }
  return true;
}

std::optional<SmallNetwork> SmallNetwork::make(const std::vector<LayerWeights>& layers) {
  std::optional<SmallLayers> small = small_layers(layers, 0);
  if (!small) return std::nullopt;
  SmallNetwork made(std::move(*small));
  made.watched_.resize(layers.size());
  for (size_t i = 0; i + 1 < layers.size(); ++i) {
    if (!made.small_.layers[i + 1].tiled()) continue;
    integers::Follow& follow = made.small_.layers[i].follow;
    made.watched_[i].emplace(Watched{follow.low, follow.high, ChannelRoom(layers[i + 1])});
    const int64_t ratio = -follow.high / follow.low;
    follow.high = kMostTiled;
    follow.low = static_cast<int32_t>(-kMostTiled / ratio);
  }
  return made;
}

bool SmallNetwork::see(size_t layer, const int16_t* row, int64_t count, Reached& reached) const {
  if (!watched_[layer]) return integers::inside_limits(small_.layers[layer], row, count);
  const Watched& watched = *watched_[layer];
  const int64_t channels = small_.layers[layer].channels, pitch = round_up(channels, integers::kPad);
  Extent& seen = reached.seen;
  seen.smallest.resize(static_cast<size_t>(channels));
  seen.largest.resize(static_cast<size_t>(channels));
  for (const int16_t* end = row + count; row < end; row += pitch) {
    for (size_t channel = 0; channel < seen.largest.size(); ++channel) {
      seen.smallest[channel] = std::min(seen.smallest[channel], row[channel]);
      seen.largest[channel] = std::max(seen.largest[channel], row[channel]);
    }
  }
  const int16_t smallest = *std::min_element(seen.smallest.begin(), seen.smallest.end());
  const int16_t largest = *std::max_element(seen.largest.begin(), seen.largest.end());
  if (watched.low < smallest && largest < watched.high) return true;
  const integers::Follow& follow = small_.layers[layer].follow;
  if (smallest <= follow.low || follow.high <= largest) return false;
  if (seen.within(reached.good)) return true;
  reached.good = seen.grown(25, kLittle);  // not anew for each row that reaches a little farther
  if (watched.room.holds(reached.good)) return true;
  reached.good = seen;
  return watched.room.holds(seen);
}

// A row of integers; false if one is none, or too large.
bool SmallNetwork::read_row(const double* values, Size input, int64_t row, int64_t columns, int16_t* out,
                            int64_t pitch) const {
  bool good = true;
  for (int64_t channel = 0; channel < small_.layers.front().shape.inputs; ++channel) {
    const double* in = values + (channel * input.height + row) * input.width;
    for (int64_t column = 0; column < columns; ++column) {
      const double bounded = std::abs(in[column]) <= small_.largest ? in[column] : small_.largest + 1.0;  // NaN, too
      const int32_t value = static_cast<int32_t>(bounded);
      good = good && value == bounded && value <= small_.largest;
      out[column * pitch + channel] = static_cast<int16_t>(value);
    }
  }
  return good;
}

template <class T>
bool SmallNetwork::run(const double* values, Size input, const std::vector<Size>& sizes, T* out, int threads,
                       int variant) const {
  return run_rows(values, input, sizes, threads, variant, [&](int64_t row, const int32_t* in, int64_t pitch) {
    write_row(in, pitch, small_.layers.back().shape.outputs, sizes.back(), row, out);
  });
}

template bool SmallNetwork::run(const double*, Size, const std::vector<Size>&, float*, int, int) const;
template bool SmallNetwork::run(const double*, Size, const std::vector<Size>&, double*, int, int) const;

}  // namespace pylatent::exact
