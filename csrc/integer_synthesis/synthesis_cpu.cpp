#include <algorithm>
#include <cmath>
#include <utility>

#include "common/checks.h"
#include "common/cpu.h"
#include "common/parallel.h"
#include "integer_synthesis/integer_synthesis.h"
#include "integer_synthesis/synthesis_convolve.h"
#include "integer_synthesis/synthesis_schedule.h"

namespace pylatent::integers {
namespace {

constexpr int kLatentBits = 8, kGainBits = 20;
constexpr float kLargestLatent = (1 << 19) - 1;
constexpr double kNanosecondsOfByte = 30;  // of pixels
constexpr int64_t kBand = 4;               // rows of latents at a time, for each thread

struct Variant {
  const char* name;
  Kernels (*kernels)();
};

std::vector<Variant> find_variants() {
  std::vector<Variant> found{{"scalar", scalar_kernels}};
#ifdef PYLATENT_X86_SIMD
  found.push_back({"sse2", sse2_kernels});
  if (simd_level() >= Simd::avx2) found.push_back({"avx2", avx2_kernels});
  if (simd_level() >= Simd::avx512) found.push_back({"avx512", avx512_kernels});
  if (simd_level() >= Simd::avx512 && has_vnni()) found.push_back({"avx512-vnni", vnni_kernels});
#endif
  return found;
}

const std::vector<Variant>& available() {
  static const std::vector<Variant> found = find_variants();
  return found;
}

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

std::vector<const char*> variants() {
  std::vector<const char*> names;
  for (const Variant& variant : available()) names.push_back(variant.name);
  return names;
}

Network::Network(int32_t largest, std::vector<Layer> layers) : largest_(largest), layers_(std::move(layers)) {
  check_range("number of layers", static_cast<int64_t>(layers_.size()), 1, INT32_MAX);
  check_range("largest", largest, 1, INT16_MAX);
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (i > 0) check_equal("inputs of a layer", layers_[i].shape.inputs, layers_[i - 1].channels);
    if (layers_[i].shape.skip) {
      check_range("place of a layer that adds inputs", static_cast<int64_t>(i), 1, INT32_MAX);
      check_equal("outputs of a layer that adds inputs", layers_[i].channels, layers_[i - 1].shape.inputs);
      check_equal("shuffle of a layer that adds inputs", layers_[i - 1].spread * layers_[i].shape.shuffle, 1);
    }
    scale_ *= layers_[i].shape.shuffle;
  }
  const LayerShape& last = layers_.back().shape;
  check_equal("colours", last.outputs / (last.shuffle * last.shuffle), 3);
}

void Network::run(const float* latents, int64_t batch, Size size, const int32_t* gains, uint8_t* pixels, int threads,
                  int variant) const {
  const int count = static_cast<int>(available().size());
  check_range("variant", variant, -1, count - 1);
  check_range("batch", batch, 1, INT32_MAX);
  check_range("height", size.height, 1, INT32_MAX);
  check_range("width", size.width, 1, INT32_MAX);
  const Kernels kernels = available()[static_cast<size_t>(variant < 0 ? count - 1 : variant)].kernels();
  const int64_t of_image = inputs() * size.height * size.width, bytes = 3 * scale_ * scale_ * size.height * size.width;
  const bool each = batch >= threads;  // an image a thread
  const double nanoseconds = static_cast<double>(batch * bytes) * kNanosecondsOfByte;
  parallel_for(batch, nanoseconds, each ? threads : 1, [&](int64_t image) {
    run_one(latents + image * of_image, size, gains + image * inputs(), pixels + image * bytes, kernels,
            each ? 1 : threads);
  });
}

void Network::run_one(const float* latents, Size size, const int32_t* gains, uint8_t* pixels, const Kernels& kernels,
                      int threads) const {
  const Schedule schedule = make_schedule(layers_, size, kBand * std::min(threads, 8));
  std::vector<Rows> rows;  // inputs of each layer, and outputs of the last
  for (size_t i = 0; i <= layers_.size(); ++i) {
    rows.emplace_back(schedule.sizes[i], i == 0 ? inputs() : layers_[i - 1].channels, schedule.capacities[i]);
  }
  ScratchPool pool(layers_);
  const int64_t last = static_cast<int64_t>(layers_.size()), scale = layers_.back().shape.shuffle;
  for (const Step& step : schedule.steps) {
    if (step.layer < 0) {
      const double nanoseconds = static_cast<double>((step.last - step.first) * size.width * inputs());
      parallel_for(step.last - step.first, nanoseconds, threads, [&](int64_t task) {
        const int64_t row = step.first + task;
        read_row(latents, size, row, gains, inputs(), largest_, rows[0].row(row), rows[0].pitch());
      });
    } else if (step.layer == last) {
      const int64_t width = schedule.sizes.back().width;
      const double nanoseconds = static_cast<double>((step.last - step.first) * width * scale * scale * 3);
      parallel_for(step.last - step.first, nanoseconds, threads, [&](int64_t task) {
        const int64_t row = step.first + task;
        write_row(rows.back().row(row), rows.back().pitch(), width, scale, pixels + row * scale * width * scale * 3);
      });
    } else {
      const size_t i = static_cast<size_t>(step.layer);
      const Rows* skip = layers_[i].shape.skip ? &rows[i - 1] : nullptr;
      convolve(layers_[i], kernels, rows[i], skip, rows[i + 1], schedule.sizes[i].width, step.first, step.last, pool,
               threads);
    }
  }
}

}  // namespace pylatent::integers
