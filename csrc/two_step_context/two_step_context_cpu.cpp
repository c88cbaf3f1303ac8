#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "common/checks.h"
#include "two_step_context/two_step_context.h"

namespace pylatent::exact {
namespace {

constexpr int32_t kOne = 1 << 8;
constexpr int32_t kMostResidual = 8 * kOne, kMostMean = 16 * kOne, kMostShift = 4 * kOne;
constexpr int32_t kHalfOfJoined = (1 << 14) - 1;  // limit of each summand
constexpr int32_t kLargestMean = 1 << 23;         // float32 holds it
constexpr int64_t kPixelsOfBand = 192;
constexpr int kSlopeOfJoined = 10;  // over 2^10

// Channels `first` to `last` - 1 at one phase of a 2x2 partition, whose elements begin at `offset`.
struct PartOfStep {
  int64_t first, last, row, column, offset, height, width;
};

// colour: of the squares on which the first half of the channels is coded, 0 in step 1.
std::vector<PartOfStep> parts_of(int64_t channels, Size size, int64_t colour) {
  const int64_t half = channels / 2;
  std::vector<PartOfStep> parts{{0, half, 0, colour, 0, 0, 0},
                                {0, half, 1, 1 - colour, 0, 0, 0},
                                {half, channels, 0, 1 - colour, 0, 0, 0},
                                {half, channels, 1, colour, 0, 0, 0}};
  int64_t offset = 0;
  for (PartOfStep& part : parts) {
    part.offset = offset;
    part.height = (size.height + 1 - part.row) / 2;
    part.width = (size.width + 1 - part.column) / 2;
    offset += (part.last - part.first) * part.height * part.width;
  }
  return parts;
}

// fn(channel, column, place among the step's elements) for each element of a row.
template <class Fn>
void each_element(const std::vector<PartOfStep>& parts, int64_t row, Fn&& fn) {
  for (const PartOfStep& part : parts) {
    if (part.row != row % 2) continue;
    for (int64_t channel = part.first; channel < part.last; ++channel) {
      const int64_t place = part.offset + ((channel - part.first) * part.height + row / 2) * part.width;
      for (int64_t i = 0; i < part.width; ++i) fn(channel, 2 * i + part.column, place + i);
    }
  }
}

// (a b + 2^(bits - 1)) >> bits
int64_t scaled(int64_t a, int64_t b, int bits) { return (a * b + (INT64_C(1) << (bits - 1))) >> bits; }

std::vector<uint8_t> levels_of(const std::vector<int32_t>& thresholds) {
  check_range("number of thresholds", static_cast<int64_t>(thresholds.size()), 1, UINT8_MAX);
  std::vector<uint8_t> levels;
  for (size_t i = 0; i < thresholds.size(); ++i) {
    check_range("threshold", thresholds[i], static_cast<int64_t>(levels.size()) - 1, kLimit);
    levels.resize(static_cast<size_t>(thresholds[i]) + 1, static_cast<uint8_t>(i));
  }
  levels.push_back(static_cast<uint8_t>(thresholds.size()));
  return levels;
}

const ConvShape& shape_of(const std::vector<LayerWeights>& network, bool last) {
  if (network.empty()) throw std::invalid_argument("a network of a context must have layers");
  return last ? network.back().shape : network.front().shape;
}

}  // namespace

std::optional<TwoStepContext> TwoStepContext::make(const ContextWeights& weights, ScaleGrid grid, int64_t channels,
                                                   int32_t tables) {
  TwoStepContext made;
  made.channels_ = channels;
  made.tables_ = tables;
  made.others_ = shape_of(weights.prior, true).outputs - 2 * channels;
  made.hidden_ = shape_of(weights.hyper, true).outputs;
  check_range("channels", channels, 2, INT32_MAX);
  check_equal("channels modulo 2", channels % 2, 0);
  check_range("other channels", made.others_, 0, INT32_MAX);
  check_range("tables", tables, 1, 128);
  check_equal("inputs of the network of residuals", shape_of(weights.neighbours, false).inputs, channels);
  check_equal("inputs of the network of parameters", shape_of(weights.hyper, false).inputs, 2 * channels);
  check_equal("outputs of the network of residuals", shape_of(weights.neighbours, true).outputs, made.hidden_);
  check_equal("inputs of the last network", shape_of(weights.fuse, false).inputs, made.hidden_);
  check_equal("outputs of the last network", shape_of(weights.fuse, true).outputs, 2 * channels);
  made.levels_ = levels_of(grid.thresholds);
  for (const std::vector<int32_t>* function : {&grid.features, &grid.sigmas, &grid.reciprocals}) {
    check_equal("levels of a function", static_cast<int64_t>(function->size()),
                static_cast<int64_t>(grid.thresholds.size()) + 1);
  }
  made.grid_ = std::move(grid);
  for (const LayerWeights& layer : weights.prior) made.prior_layers_.emplace_back(layer.shape);
  made.prior_ = SmallNetwork::make(weights.prior);
  std::optional<SmallLayers> hyper = small_layers(weights.hyper, kHalfOfJoined);
  std::optional<SmallLayers> neighbours = small_layers(weights.neighbours, kHalfOfJoined);
  std::optional<SmallLayers> fuse = small_layers(weights.fuse, 0);
  if (!made.prior_ || !hyper || !neighbours || !fuse) return std::nullopt;
  for (int32_t feature : made.grid_.features) {
    if (std::abs(feature) > hyper->largest) return std::nullopt;
  }
  if (hyper->largest < kMostMean || neighbours->largest < kMostResidual) return std::nullopt;
  made.joined_ = fuse->largest;
  made.neighbours_ = std::move(neighbours->layers);
  made.rest_ = std::move(hyper->layers);
  made.joint_ = made.rest_.size() - 1;
  std::move(fuse->layers.begin(), fuse->layers.end(), std::back_inserter(made.rest_));
  for (const std::vector<integers::Layer>* layers : {&made.neighbours_, &made.rest_}) {
    for (const integers::Layer& layer : *layers) {  // results are of the size of inputs
      check_equal("stride of a network of a context", layer.in_step * layer.out_step, 1);
      check_equal("height of a kernel", layer.shape.kernel_h, 2 * layer.shape.padding + 1);
      check_equal("width of a kernel", layer.shape.kernel_w, 2 * layer.shape.padding + 1);
    }
  }
  return made;
}

bool TwoStepContext::first(const double* z, Size z_size, Size size, float* rest, float* mean, uint8_t* table,
                           const FirstStep& kept, int threads, int variant) const {
  std::vector<Size> sizes{z_size};
  for (const Geometry& layer : prior_layers_) sizes.push_back(layer.output_size(sizes.back()));
  check_range("rows", size.height, 1, sizes.back().height);
  check_range("columns", size.width, 1, sizes.back().width);
  sizes.back() = size;
  for (size_t i = prior_layers_.size(); i-- > 0;) sizes[i] = prior_layers_[i].needed_input(sizes[i], sizes[i + 1]);
  const std::vector<PartOfStep> parts = parts_of(channels_, size, 0);
  const int32_t most = static_cast<int32_t>(levels_.size()) - 1;
  return prior_->run_rows(z, z_size, sizes, threads, variant, [&](int64_t row, const int32_t* in, int64_t pitch) {
    int32_t* means = kept.mean + row * size.width * channels_;
    uint8_t* levels = kept.level + row * size.width * channels_;
    for (int64_t column = 0; column < size.width; ++column) {
      const int32_t* from = in + column * pitch;
      for (int64_t channel = 0; channel < channels_; ++channel) {
        levels[column * channels_ + channel] = levels_[static_cast<size_t>(std::clamp(from[channel], 0, most))];
      }
      std::copy_n(from + channels_, channels_, means + column * channels_);
    }
    each_element(parts, row, [&](int64_t channel, int64_t column, int64_t place) {
      mean[place] = static_cast<float>(means[column * channels_ + channel]);
      table[place] = static_cast<uint8_t>((levels[column * channels_ + channel] + 2) / 4);
    });
    for (int64_t channel = 0; channel < others_; ++channel) {
      float* to = rest + (channel * size.height + row) * size.width;
      const int32_t* from = in + 2 * channels_ + channel;
      for (int64_t column = 0; column < size.width; ++column) to[column] = static_cast<float>(from[column * pitch]);
    }
  });
}

// Residuals of the first step, in units of the scale, and zeros elsewhere.
void TwoStepContext::read_residuals(const int32_t* symbols, Size size, int64_t row, const uint8_t* level, int16_t* out,
                                    int64_t pitch) const {
  std::fill_n(out, size.width * pitch, int16_t{0});
  const uint8_t* levels = level + row * size.width * channels_;
  each_element(parts_of(channels_, size, 0), row, [&](int64_t channel, int64_t column, int64_t place) {
    const int64_t reciprocal = grid_.reciprocals[levels[column * channels_ + channel]];
    const int64_t value = scaled(symbols[place], reciprocal, 8);
    out[column * pitch + channel] = static_cast<int16_t>(std::clamp<int64_t>(value, -kMostResidual, kMostResidual));
  });
}

// log sigma, and means in units of the scale.
void TwoStepContext::read_parameters(Size size, int64_t row, const FirstStep& kept, int16_t* out, int64_t pitch) const {
  const int32_t* means = kept.mean + row * size.width * channels_;
  const uint8_t* levels = kept.level + row * size.width * channels_;
  for (int64_t column = 0; column < size.width; ++column, out += pitch) {
    for (int64_t channel = 0; channel < channels_; ++channel) {
      const uint8_t level = *levels++;
      out[channel] = static_cast<int16_t>(grid_.features[level]);
      const int64_t value = scaled(*means++, grid_.reciprocals[level], 16);
      out[channels_ + channel] = static_cast<int16_t>(std::clamp<int64_t>(value, -kMostMean, kMostMean));
    }
  }
}

// In place: the leaky sum with the other network's result; false if the last one cannot take it.
bool TwoStepContext::join(const int16_t* neighbours, int64_t width, int16_t* values, int64_t pitch) const {
  int32_t largest = 0;
  for (int64_t column = 0; column < width; ++column, neighbours += hidden_, values += pitch) {
    for (int64_t channel = 0; channel < hidden_; ++channel) {
      const int32_t sum = values[channel] + neighbours[channel];
      const int32_t negative = (sum * kSlopeOfJoined + (1 << 9)) >> 10;
      const int32_t joined = sum < 0 ? negative : sum;
      largest = std::max(largest, std::abs(joined));
      values[channel] = static_cast<int16_t>(joined);
    }
  }
  return largest <= joined_;
}

bool TwoStepContext::second(const int32_t* symbols, Size size, const FirstStep& kept, float* mean, uint8_t* table,
                            int threads, int variant) const {
  const integers::Kernels& kernels = integers::kernels_of(variant);
  const int64_t band =
      std::max<int64_t>(2, round_up((kPixelsOfBand + size.width - 1) / size.width, 2)) * std::min(threads, 8);
  const auto sizes = [&](const std::vector<integers::Layer>& layers) {
    return std::vector<Size>(layers.size() + 1, size);
  };
  const auto fits = [](const std::vector<integers::Layer>& layers, size_t layer, const int16_t* values, int64_t count) {
    return integers::inside_limits(layers[layer], values, count);
  };
  const Aligned<int16_t> neighbours = allocate<int16_t>(size.area() * hidden_);
  integers::Pipeline of_residuals(neighbours_, kernels, sizes(neighbours_), band, threads);
  const bool known = of_residuals.run<int16_t>(
      [&](int64_t row, int16_t* out, int64_t pitch) {
        read_residuals(symbols, size, row, kept.level, out, pitch);
        return true;
      },
      [&](int64_t row, const int16_t* in, int64_t pitch) {
        int16_t* to = neighbours.get() + row * size.width * hidden_;
        for (int64_t column = 0; column < size.width; ++column) {
          std::copy_n(in + column * pitch, hidden_, to + column * hidden_);
        }
      },
      [&](size_t layer, int64_t, int16_t* values, int64_t count) { return fits(neighbours_, layer, values, count); });
  if (!known) return false;

  const std::vector<PartOfStep> parts = parts_of(channels_, size, 1);
  std::atomic<bool> good{true};
  integers::Pipeline of_rest(rest_, kernels, sizes(rest_), band, threads);
  const bool done = of_rest.run<int32_t>(
      [&](int64_t row, int16_t* out, int64_t pitch) {
        read_parameters(size, row, kept, out, pitch);
        return true;
      },
      [&](int64_t row, const int32_t* in, int64_t pitch) {
        const int32_t* means = kept.mean + row * size.width * channels_;
        const uint8_t* levels = kept.level + row * size.width * channels_;
        each_element(parts, row, [&](int64_t channel, int64_t column, int64_t place) {
          const int32_t* from = in + column * pitch + channel;
          const uint8_t level = levels[column * channels_ + channel];
          const int32_t shift = std::clamp(from[0], -kMostShift, kMostShift);
          const int32_t at = (level * (kOne / 4) + 8 * shift + kOne / 2) >> 8;
          table[place] = static_cast<uint8_t>(tables_ + std::clamp(at, 0, tables_ - 1));
          const int64_t value = means[column * channels_ + channel] + scaled(grid_.sigmas[level], from[channels_], 8);
          if (std::abs(value) > kLargestMean) good.store(false, std::memory_order_relaxed);
          mean[place] = static_cast<float>(value);
        });
      },
      [&](size_t layer, int64_t row, int16_t* values, int64_t count) {
        if (!fits(rest_, layer, values, count)) return false;
        if (layer != joint_) return true;
        return join(neighbours.get() + row * size.width * hidden_, size.width, values, count / size.width);
      });
  return done && good.load();
}

}  // namespace pylatent::exact
