#include <algorithm>
#include <cmath>
#include <utility>

#include "common/checks.h"
#include "integer_conv/conv_pipeline.h"
#include "integer_conv/conv_variants.h"
#include "integer_synthesis/integer_synthesis.h"

namespace pylatent::integers {
namespace {

constexpr int kLatentBits = 8, kGainBits = 20;
constexpr float kLargestLatent = (1 << 19) - 1;
constexpr double kNanosecondsOfByte = 30;  // of pixels
constexpr int64_t kBand = 4,
                  kPixels = 192;  // latents at a time, for each thread: so many rows, or as many as these are

// A row of latents to the first layer's inputs.
void read_row(const float* latents, Size size, int64_t row, const int32_t* gains, int64_t channels, int32_t largest,
              int16_t* out, int64_t pitch) {
  for (int64_t channel = 0; channel < channels; ++channel) {
    const float* in = latents + (channel * size.height + row) * size.width;
    const int64_t gain = gains[channel];
    for (int64_t column = 0; column < size.width; ++column) {
      const float scaled = in[column] * (1 << kLatentBits);
      const float number = scaled == scaled ? scaled : 0.0f;
      const float bounded = std::max(std::min(number, kLargestLatent), -kLargestLatent);
      const int64_t units =
          (static_cast<int64_t>(std::nearbyint(bounded)) * gain + (1 << (kGainBits - 1))) >> kGainBits;
      out[column * pitch + channel] = static_cast<int16_t>(std::clamp<int64_t>(units, -largest, largest));
    }
  }
}

// A row of the last layer's outputs to `scale` rows of pixels.
void write_row(const int16_t* in, int64_t pitch, int64_t width, int64_t scale, uint8_t* pixels) {
  const int64_t count = 3 * scale;
  for (int64_t down = 0; down < scale; ++down) {
    for (int64_t column = 0; column < width; ++column) {
      const int16_t* from = in + column * pitch + down * count;
      for (int64_t i = 0; i < count; ++i) *pixels++ = static_cast<uint8_t>(from[i]);
    }
  }
}

}  // namespace

Synthesis::Synthesis(int32_t largest, std::vector<Layer> layers) : largest_(largest), layers_(std::move(layers)) {
  check_range("number of layers", static_cast<int64_t>(layers_.size()), 1, INT32_MAX);
  check_range("largest", largest, 1, INT16_MAX);
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (i > 0) check_equal("inputs of a layer", layers_[i].shape.inputs, layers_[i - 1].channels);
    if (layers_[i].follow.skip) {
      check_range("place of a layer that adds inputs", static_cast<int64_t>(i), 1, INT32_MAX);
      check_equal("outputs of a layer that adds inputs", layers_[i].channels, layers_[i - 1].shape.inputs);
      check_equal("shuffle of a layer that adds inputs", layers_[i - 1].spread * layers_[i].follow.shuffle, 1);
    }
    scale_ *= layers_[i].follow.shuffle;
  }
  const Layer& last = layers_.back();
  check_equal("colours", last.shape.outputs / (last.follow.shuffle * last.follow.shuffle), 3);
}

void Synthesis::run(const float* latents, int64_t batch, Size size, const int32_t* gains, uint8_t* pixels, int threads,
                    int variant) const {
  variant = variant_number(variant);
  check_range("batch", batch, 1, INT32_MAX);
  check_range("height", size.height, 1, INT32_MAX);
  check_range("width", size.width, 1, INT32_MAX);
  const int64_t of_image = inputs() * size.area(), bytes = 3 * scale_ * scale_ * size.area();
  const bool each = batch >= threads;  // an image a thread
  const double nanoseconds = static_cast<double>(batch * bytes) * kNanosecondsOfByte;
  parallel_for(batch, nanoseconds, each ? threads : 1, [&](int64_t image) {
    run_one(latents + image * of_image, size, gains + image * inputs(), pixels + image * bytes, each ? 1 : threads,
            variant);
  });
}

void Synthesis::run_one(const float* latents, Size size, const int32_t* gains, uint8_t* pixels, int threads,
                        int variant) const {
  std::vector<Size> sizes{size};
  for (const Layer& layer : layers_) sizes.push_back(layer.result_size(sizes.back()));
  const int64_t band = std::max(kBand, round_up((kPixels + size.width - 1) / size.width, 2)) * std::min(threads, 8);
  const int64_t width = sizes.back().width, scale = layers_.back().follow.shuffle;
  Pipeline pipeline(layers_, kernels_of(variant), std::move(sizes), band, threads);
  pipeline.run<int16_t>(
      [&](int64_t row, int16_t* out, int64_t pitch) {
        read_row(latents, size, row, gains, inputs(), largest_, out, pitch);
        return true;
      },
      [&](int64_t row, const int16_t* in, int64_t pitch) {
        write_row(in, pitch, width, scale, pixels + row * scale * width * scale * 3);
      });
}

}  // namespace pylatent::integers
