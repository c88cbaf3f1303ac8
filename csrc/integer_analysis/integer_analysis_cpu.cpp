#include <algorithm>
#include <utility>

#include "common/checks.h"
#include "integer_analysis/integer_analysis.h"
#include "integer_conv/conv_pipeline.h"
#include "integer_conv/conv_variants.h"

namespace pylatent::integers {
namespace {

constexpr int64_t kColours = 3;
constexpr double kNanosecondsOfPixel = 150;
constexpr int64_t kBand = 4,
                  kPixels = 192;  // latents at a time, for each thread: so many rows, or as many as these are

// A row of blocks; what lies beyond the picture repeats its last row and column.
void read_row(const float* pixels, Size picture, int64_t block, float unit, int64_t row, int64_t columns, int16_t* out,
              int64_t pitch) {
  for (int64_t colour = 0; colour < kColours; ++colour) {
    for (int64_t down = 0; down < block; ++down) {
      const int64_t y = std::min(row * block + down, picture.height - 1);
      const float* in = pixels + (colour * picture.height + y) * picture.width;
      int16_t* to = out + (colour * block + down) * block;
      const auto convert = [&](float value) {  // NaN becomes 0
        const float bounded = value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f;
        return static_cast<int16_t>(static_cast<int32_t>(bounded * unit + 0.5f));
      };
      const int64_t whole = std::min(columns, picture.width / block);
      for (int64_t column = 0; column < whole; ++column) {
        for (int64_t across = 0; across < block; ++across) {
          to[column * pitch + across] = convert(in[column * block + across]);
        }
      }
      for (int64_t column = whole; column < columns; ++column) {
        for (int64_t across = 0; across < block; ++across) {
          to[column * pitch + across] = convert(in[std::min(column * block + across, picture.width - 1)]);
        }
      }
    }
  }
}

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

Analysis::Analysis(int32_t unit, int64_t block, std::vector<Layer> layers)
    : unit_(unit), block_(block), layers_(std::move(layers)) {
  check_range("number of layers", static_cast<int64_t>(layers_.size()), 1, INT32_MAX);
  check_range("unit", unit, 1, INT16_MAX);
  check_range("block", block, 1, 1 << 10);
  check_equal("inputs of the first layer", layers_.front().shape.inputs, kColours * block * block);
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (i > 0) check_equal("inputs of a layer", layers_[i].shape.inputs, layers_[i - 1].channels);
    if (layers_[i].follow.skip) {
      check_range("place of a layer that adds inputs", static_cast<int64_t>(i), 1, INT32_MAX);
      check_equal("outputs of a layer that adds inputs", layers_[i].channels, layers_[i - 1].shape.inputs);
      check_equal("steps before a layer that adds inputs", layers_[i - 1].in_step * layers_[i].in_step, 1);
    }
  }
}

std::vector<Size> Analysis::sizes(Size picture, int64_t alignment) const {
  check_range("height", picture.height, 1, INT32_MAX);
  check_range("width", picture.width, 1, INT32_MAX);
  check_range("alignment", alignment, block_, 1 << 20);
  check_equal("alignment modulo block", alignment % block_, 0);
  std::vector<Size> sizes{{round_up(picture.height, alignment) / block_, round_up(picture.width, alignment) / block_}};
  for (const Layer& layer : layers_) sizes.push_back(layer.result_size(sizes.back()));
  return sizes;
}

Size Analysis::result_size(Size picture, int64_t alignment) const { return sizes(picture, alignment).back(); }

void Analysis::run(const float* pixels, int64_t batch, Size picture, int64_t alignment, const float* scales,
                   float* latents, int threads, int variant) const {
  variant = variant_number(variant);
  check_range("batch", batch, 1, INT32_MAX);
  const std::vector<Size> all = sizes(picture, alignment);
  const bool each = batch >= threads;  // an image a thread
  const double nanoseconds = static_cast<double>(batch * picture.area()) * kNanosecondsOfPixel;
  parallel_for(batch, nanoseconds, each ? threads : 1, [&](int64_t image) {
    run_one(pixels + image * kColours * picture.area(), picture, all, scales + image * outputs(),
            latents + image * outputs() * all.back().area(), each ? 1 : threads, variant);
  });
}

void Analysis::run_one(const float* pixels, Size picture, const std::vector<Size>& sizes, const float* scales,
                       float* latents, int threads, int variant) const {
  const Size first = sizes.front(), last = sizes.back();
  const int64_t rows = std::max(kBand, round_up((kPixels + last.width - 1) / last.width, 2)) * std::min(threads, 8);
  Pipeline pipeline(layers_, kernels_of(variant), sizes, rows * (first.height / last.height), threads);
  pipeline.run<int32_t>(
      [&](int64_t row, int16_t* out, int64_t pitch) {
        read_row(pixels, picture, block_, static_cast<float>(unit_), row, first.width, out, pitch);
        return true;
      },
      [&](int64_t row, const int32_t* in, int64_t pitch) {
        write_row(in, pitch, outputs(), last, row, scales, latents);
      });
}

}  // namespace pylatent::integers
