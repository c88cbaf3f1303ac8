#include <algorithm>
#include <utility>

#include "common/checks.h"
#include "integer_analysis/integer_analysis.h"
#include "integer_conv/conv_pipeline.h"
#include "integer_conv/conv_variants.h"

namespace pylatent::integers {
namespace {

constexpr double kNanosecondsOfProduct = 0.006;
constexpr int64_t kBand = 4, kResults = 192;  // at a time, for each thread: rows of results, or rows of so many

void write_row(const int32_t* in, int64_t pitch, int64_t channels, Size size, int64_t row, const float* scales,
               float* out) {
  for (int64_t first = 0; first < channels; first += kUnit) {
    const int64_t count = std::min<int64_t>(kUnit, channels - first);
    float* to = out + (first * size.height + row) * size.width;
    for (int64_t column = 0; column < size.width; ++column) {
      const int32_t* from = in + column * pitch + first;
      for (int64_t j = 0; j < count; ++j) {
        to[j * size.area() + column] = static_cast<float>(from[j]) * scales[first + j];
      }
    }
  }
}

}  // namespace

Analysis::Analysis(Inputs inputs, std::vector<Layer> layers) : inputs_(std::move(inputs)), layers_(std::move(layers)) {
  check_range("number of layers", static_cast<int64_t>(layers_.size()), 1, INT32_MAX);
  check_range("lowest input", inputs_.low, -INT16_MAX, 0);
  check_range("highest input", inputs_.high, 0, INT16_MAX);
  check_range("block", inputs_.block, 1, 1 << 10);
  check_equal("inputs of the first layer", layers_.front().shape.inputs,
              inputs_.channels() * inputs_.block * inputs_.block);
  int32_t low = inputs_.low, high = inputs_.high;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (i > 0) check_equal("inputs of a layer", layers_[i].shape.inputs, layers_[i - 1].channels);
    layers_[i].small_inputs = -kSmall <= low && high <= kSmall;
    low = layers_[i].follow.low;
    high = layers_[i].follow.high;
    if (layers_[i].follow.skip) {
      check_range("place of a layer that adds inputs", static_cast<int64_t>(i), 1, INT32_MAX);
      check_equal("outputs of a layer that adds inputs", layers_[i].channels, layers_[i - 1].shape.inputs);
      check_equal("steps before a layer that adds inputs", layers_[i - 1].in_step * layers_[i].in_step, 1);
    }
  }
}

std::vector<Size> Analysis::sizes(Size image, int64_t alignment) const {
  const int64_t block = inputs_.block;
  check_range("height", image.height, 1, INT32_MAX);
  check_range("width", image.width, 1, INT32_MAX);
  check_range("alignment", alignment, block, 1 << 20);
  check_equal("alignment modulo block", alignment % block, 0);
  std::vector<Size> sizes{{round_up(image.height, alignment) / block, round_up(image.width, alignment) / block}};
  for (const Layer& layer : layers_) sizes.push_back(layer.result_size(sizes.back()));
  return sizes;
}

Size Analysis::result_size(Size image, int64_t alignment) const { return sizes(image, alignment).back(); }

// A row of blocks; what lies beyond the image repeats its last row and column.
void Analysis::read_row(const float* image, Size size, int64_t row, int64_t columns, int16_t* out,
                        int64_t pitch) const {
  const int64_t block = inputs_.block;
  const float low = static_cast<float>(inputs_.low), high = static_cast<float>(inputs_.high);
  std::vector<int16_t> units(static_cast<size_t>(columns * block));
  for (int64_t channel = 0; channel < inputs_.channels(); ++channel) {
    const float unit = inputs_.units[static_cast<size_t>(channel)];
    const auto convert = [&](float value) {
      const float scaled = value * unit, bounded = scaled > low ? (scaled < high ? scaled : high) : low;
      return static_cast<int16_t>(static_cast<int32_t>(bounded - low + 0.5f) + inputs_.low);
    };
    for (int64_t down = 0; down < block; ++down) {
      const int64_t y = std::min(row * block + down, size.height - 1);
      const float* in = image + (channel * size.height + y) * size.width;
      std::transform(in, in + size.width, units.begin(), convert);
      std::fill(units.begin() + size.width, units.end(), units[static_cast<size_t>(size.width - 1)]);
      int16_t* to = out + (channel * block + down) * block;
      const int16_t* from = units.data();
      if (block == 4) {  // a copy of known size takes no call
        for (int64_t column = 0; column < columns; ++column) std::copy_n(from + column * 4, 4, to + column * pitch);
      } else {
        for (int64_t column = 0; column < columns; ++column) {
          std::copy_n(from + column * block, block, to + column * pitch);
        }
      }
    }
  }
}

void Analysis::run(const float* images, int64_t batch, Size image, int64_t alignment, const float* scales,
                   float* results, int threads, int variant) const {
  variant = variant_number(variant);
  check_range("batch", batch, 1, INT32_MAX);
  const std::vector<Size> all = sizes(image, alignment);
  double products = 0;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const ConvShape& shape = layers_[i].shape;
    products += static_cast<double>(all[i + 1].area() * shape.inputs * shape.outputs * layers_[i].taps());
  }
  const bool each = batch >= threads;  // an image a thread
  const double nanoseconds = static_cast<double>(batch) * products * kNanosecondsOfProduct;
  parallel_for(batch, nanoseconds, each ? threads : 1, [&](int64_t number) {
    run_one(images + number * inputs_.channels() * image.area(), image, all, scales + number * outputs(),
            results + number * outputs() * all.back().area(), each ? 1 : threads, variant);
  });
}

void Analysis::run_one(const float* image, Size size, const std::vector<Size>& sizes, const float* scales,
                       float* results, int threads, int variant) const {
  const Size first = sizes.front(), last = sizes.back();
  const int64_t rows = std::max(kBand, round_up((kResults + last.width - 1) / last.width, 2)) * std::min(threads, 8);
  Pipeline pipeline(layers_, kernels_of(variant), sizes, rows * (first.height / last.height), threads);
  pipeline.run<int32_t>(
      [&](int64_t row, int16_t* out, int64_t pitch) {
        read_row(image, size, row, first.width, out, pitch);
        return true;
      },
      [&](int64_t row, const int32_t* in, int64_t pitch) {
        write_row(in, pitch, outputs(), last, row, scales, results);
      });
}

}  // namespace pylatent::integers
