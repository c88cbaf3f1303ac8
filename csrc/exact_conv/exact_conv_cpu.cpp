#include <algorithm>
#include <atomic>
#include <cmath>
#include <stdexcept>
#include <string>

#include "common/blocks.h"
#include "common/checks.h"
#include "common/cpu.h"
#include "common/parallel.h"
#include "exact_conv/exact_conv.h"
#include "exact_conv/exact_kernel.h"

namespace pylatent::exact {
namespace {

constexpr int64_t kTaskTiles = 16;
constexpr int64_t kGroup = INT64_C(1) << 18;  // elements of the largest activations that run together

struct Variant {
  const char* name;
  Kernels (*kernels)();
};

std::vector<Variant> find_variants() {
  std::vector<Variant> found{{"scalar", scalar_kernels}};
#ifdef PYLATENT_SSE2
  found.push_back({"sse2", sse2_kernels});
#endif
#ifdef PYLATENT_AVX2
  if (simd_level() >= Simd::avx2) found.push_back({"avx2", avx2_kernels});
#endif
#ifdef PYLATENT_AVX512
  if (simd_level() >= Simd::avx512) found.push_back({"avx512", avx512_kernels});
  if (simd_level() >= Simd::avx512 && has_vnni()) found.push_back({"avx512-vnni", vnni_kernels});
#endif
  return found;
}

const std::vector<Variant>& available() {
  static const std::vector<Variant> found = find_variants();
  return found;
}

// Activations of some images: int32 (image, row, column, channel), channels in whole units, those without meaning zero;
// and the largest magnitude in each image.
struct Activations {
  Size size;
  int64_t channels, pitch;
  Aligned<int32_t> values;
  std::vector<std::atomic<int32_t>> largest;

  Activations(int64_t images, Size size_, int64_t channels_)
      : size(size_),
        channels(channels_),
        pitch(round_up(channels_, kUnit)),
        values(allocate<int32_t>(images * size_.area() * pitch)),
        largest(static_cast<size_t>(images)) {
    for (std::atomic<int32_t>& most : largest) most.store(0, std::memory_order_relaxed);
  }

  int64_t images() const { return static_cast<int64_t>(largest.size()); }
  int32_t* at(int64_t image, int64_t row, int64_t column) const {
    return values.get() + ((image * size.height + row) * size.width + column) * pitch;
  }
  void see(int64_t image, int32_t magnitude) {
    std::atomic<int32_t>& most = largest[static_cast<size_t>(image)];
    int32_t seen = most.load(std::memory_order_relaxed);
    while (seen < magnitude && !most.compare_exchange_weak(seen, magnitude, std::memory_order_relaxed)) {
    }
  }
};

// The top left `to.size` of images as integers within +-kLimit; false if they are not integers.
bool import_images(const double* from, const Images& images, Activations& to, int threads) {
  std::atomic<bool> whole{true};
  parallel_for(to.images() * to.size.height, threads, [&](int64_t task) {
    const int64_t image = task / to.size.height, row = task % to.size.height;
    int32_t* out = to.at(image, row, 0);
    std::fill_n(out, to.size.width * to.pitch, 0);
    int32_t largest = 0;
    bool all = true;
    for (int64_t channel = 0; channel < to.channels; ++channel) {
      const double* in = from + ((image * images.channels + channel) * images.size.height + row) * images.size.width;
      for (int64_t column = 0; column < to.size.width; ++column) {
        const double bounded = in[column] < kLimit ? (in[column] > -kLimit ? in[column] : -kLimit) : kLimit;
        const int32_t value = static_cast<int32_t>(bounded);
        all = all && (value == in[column] || std::abs(in[column]) > kLimit);
        out[column * to.pitch + channel] = value;
        largest = std::max(largest, std::abs(value));
      }
    }
    to.see(image, largest);
    if (!all) whole.store(false, std::memory_order_relaxed);
  });
  return whole.load();
}

// The first images.batch of `from` as (image, channel, row, column).
template <class T>
void export_images(const Activations& from, T* to, int threads) {
  const int64_t height = from.size.height, width = from.size.width;
  parallel_for(from.images() * height, threads, [&](int64_t task) {
    const int64_t image = task / height, row = task % height;
    for (int64_t first = 0; first < from.channels; first += kUnit) {
      const int64_t count = std::min<int64_t>(kUnit, from.channels - first);
      T* out = to + ((image * from.channels + first) * height + row) * width;
      for (int64_t column = 0; column < width; ++column) {
        const int32_t* in = from.at(image, row, column) + first;
        for (int64_t j = 0; j < count; ++j) out[j * height * width + column] = static_cast<T>(in[j]);
      }
    }
  });
}

// Row `row` of an image as the kernels read it: A, channels made even, with a border of zeros. `value` makes an A.
template <class A, class Fn>
void stage(const Activations& from, int64_t image, const Border& border, int64_t channels, int64_t row, A* out,
           Fn&& value) {
  const int64_t width = border.left + from.size.width + border.right, source = row - border.top;
  if (source < 0 || source >= from.size.height) {
    std::fill_n(out, width * channels, A{0});
    return;
  }
  out = std::fill_n(out, border.left * channels, A{0});
  for (int64_t column = 0; column < from.size.width; ++column, out += channels) {
    const int32_t* in = from.at(image, source, column);
    for (int64_t channel = 0; channel < channels; ++channel) out[channel] = static_cast<A>(value(in[channel]));
  }
  std::fill_n(out, border.right * channels, A{0});
}

// a = high 2^kSplitBits + low
int32_t high_part(int32_t a) { return a >> kSplitBits; }
int32_t low_part(int32_t a) { return a & ((1 << kSplitBits) - 1); }

// Tiles of one phase, one block of outputs and one image.
struct Task {
  const Block* block;
  const Phase* phase;
  int64_t image, first_tile, last_tile;
};

// One layer, over the images of a group.
class Convolution {
 public:
  Convolution(const Layer& layer, Activations& from, Activations& to, const Kernels& kernels, int threads)
      : layer_(layer),
        from_(from),
        to_(to),
        kernels_(kernels),
        threads_(threads),
        border_(layer.border(from.size, to.size)),
        height_(border_.top + from.size.height + border_.bottom),
        width_(border_.left + from.size.width + border_.right) {}

  void run() {
    std::vector<int64_t> narrow, others;
    for (int64_t image = 0; image < from_.images(); ++image) {
      const int32_t largest = from_.largest[static_cast<size_t>(image)].load(std::memory_order_relaxed);
      (largest <= layer_.narrow_limit ? narrow : others).push_back(image);
    }
    const auto same = [](int32_t a) { return a; };
    if (layer_.wide) return convolve<int32_t>(others, layer_.wide.get(), kernels_.wide, same);
    convolve<int16_t>(narrow, layer_.narrow.get(), kernels_.narrow, same);
    convolve<int16_t>(others, layer_.narrow.get(), kernels_.split, high_part, low_part);
  }

 private:
  // parts: functions whose values of each activation the kernel reads, all images of the first, then those of the next.
  template <class A, class... Parts>
  void convolve(const std::vector<int64_t>& images, const A* weights, int32_t (*kernel)(const Tile<A>&),
                Parts... parts) {
    const int64_t area = height_ * width_ * layer_.channels;
    const int64_t count = static_cast<int64_t>(images.size());
    const Aligned<A> staged = allocate<A>(count * area * static_cast<int64_t>(sizeof...(parts)));
    parallel_for(count * height_, threads_, [&](int64_t task) {
      const int64_t image = images[static_cast<size_t>(task / height_)], row = task % height_;
      A* out = staged.get() + task * width_ * layer_.channels;
      ((stage(from_, image, border_, layer_.channels, row, out, parts), out += count * area), ...);
    });
    const std::vector<Task> tasks = share(count);
    parallel_for(static_cast<int64_t>(tasks.size()), threads_, [&](int64_t number) {
      const Task& task = tasks[static_cast<size_t>(number)];
      const int64_t image = images[static_cast<size_t>(task.image)];
      to_.see(image, tiles(task, image, staged.get() + task.image * area, count * area, weights, kernel));
    });
  }

  // Blocks outermost, so that consecutive tasks share weights.
  std::vector<Task> share(int64_t images) const {
    std::vector<Task> tasks;
    for (const Block& block : layer_.blocks) {
      for (const Phase& phase : layer_.phases) {
        const int64_t tiles = (layer_.phase_size(phase, to_.size).area() + kPixels - 1) / kPixels;
        for (int64_t image = 0; image < images; ++image) {
          for (int64_t tile = 0; tile < tiles; tile += kTaskTiles) {
            tasks.push_back({&block, &phase, image, tile, std::min(tile + kTaskTiles, tiles)});
          }
        }
      }
    }
    return tasks;
  }

  template <class A>
  int32_t tiles(const Task& task, int64_t image, const A* staged, int64_t low, const A* weights,
                int32_t (*kernel)(const Tile<A>&)) const {
    const Phase& phase = *task.phase;
    const Block& block = *task.block;
    std::vector<int64_t> taps;
    for (const Tap& tap : phase.taps) taps.push_back((tap.row * width_ + tap.column) * layer_.channels);
    Tile<A> tile{};
    tile.taps = taps.data();
    tile.tap_count = static_cast<int64_t>(taps.size());
    tile.channels = layer_.channels;
    tile.low = low;
    tile.units = block.units;
    tile.weights = weights + layer_.weights_of(phase, block);
    tile.bias = layer_.bias.data() + block.first;
    tile.narrow_bias = layer_.narrow_bias.data() + block.first;
    tile.slope = layer_.slope;
    const Size size = layer_.phase_size(phase, to_.size);
    int32_t largest = 0;
    for (int64_t number = task.first_tile; number < task.last_tile; ++number) {
      for (int m = 0; m < kPixels; ++m) {
        const int64_t pixel = std::min(number * kPixels + m, size.area() - 1);
        const int64_t row = pixel / size.width, column = pixel % size.width;
        tile.pixels[m] =
            staged +
            ((row * layer_.in_step + border_.top) * width_ + column * layer_.in_step + border_.left) * layer_.channels;
        tile.out[m] =
            to_.at(image, row * layer_.out_step + phase.row, column * layer_.out_step + phase.column) + block.first;
      }
      largest = std::max(largest, kernel(tile));
    }
    return largest;
  }

  const Layer& layer_;
  Activations& from_;
  Activations& to_;
  const Kernels& kernels_;
  int threads_;
  Border border_;
  int64_t height_, width_;  // of the staged input
};

}  // namespace

std::vector<const char*> variants() {
  std::vector<const char*> names;
  for (const Variant& variant : available()) names.push_back(variant.name);
  return names;
}

Network::Network(std::vector<Layer> layers) : layers_(std::move(layers)) {
  if (layers_.empty()) throw std::invalid_argument("`layers` must not be empty");
  for (size_t i = 1; i < layers_.size(); ++i) {
    check_equal("inputs of a layer", layers_[i].shape.inputs, layers_[i - 1].shape.outputs);
  }
}

Size Network::output_size(Size input) const {
  for (const Layer& layer : layers_) input = layer.output_size(input);
  return input;
}

bool Network::run(const double* values, const Images& images, Size crop, void* out, Dtype dtype, int threads,
                  int variant) const {
  const int count = static_cast<int>(available().size());
  check_range("variant", variant, -1, count - 1);
  check_equal("channels", images.channels, layers_.front().shape.inputs);
  check_range("batch", images.batch, 1, INT32_MAX);
  check_range("height", images.size.height, 1, INT32_MAX);
  check_range("width", images.size.width, 1, INT32_MAX);
  if (dtype != Dtype::float32 && dtype != Dtype::float64) unsupported_dtype("an exact network", dtype);
  const Kernels kernels = available()[static_cast<size_t>(variant < 0 ? count - 1 : variant)].kernels();

  std::vector<Size> sizes{images.size};  // first of the whole activations, then of the parts that `crop` depends on
  for (const Layer& layer : layers_) sizes.push_back(layer.output_size(sizes.back()));
  check_range("rows", crop.height, 1, sizes.back().height);
  check_range("columns", crop.width, 1, sizes.back().width);
  sizes.back() = crop;
  int64_t most = 1;
  for (size_t i = layers_.size(); i-- > 0;) {
    most = std::max(most, sizes[i + 1].area() * layers_[i].pitch);
    sizes[i] = layers_[i].needed_input(sizes[i], sizes[i + 1]);
  }
  const int64_t group = std::clamp<int64_t>(kGroup / most, 1, images.batch);
  const int64_t in_image = images.channels * images.size.area();
  const int64_t out_image = outputs() * crop.area();
  for (int64_t first = 0; first < images.batch; first += group) {
    const int64_t together = std::min(group, images.batch - first);
    Activations current(together, sizes[0], images.channels);
    if (!import_images(values + first * in_image, images, current, threads)) return false;
    for (size_t i = 0; i < layers_.size(); ++i) {
      Activations next(together, sizes[i + 1], layers_[i].shape.outputs);
      Convolution(layers_[i], current, next, kernels, threads).run();
      current = std::move(next);
    }
    if (dtype == Dtype::float32) {
      export_images(current, static_cast<float*>(out) + first * out_image, threads);
    } else {
      export_images(current, static_cast<double*>(out) + first * out_image, threads);
    }
  }
  return true;
}

void table_indexes(const float* values, int64_t count, const int32_t* thresholds, int64_t thresholds_count,
                   uint8_t* indexes, int threads) {
  check_range("number of thresholds", thresholds_count, 1, UINT8_MAX);
  int32_t lowest = 0;
  for (int64_t i = 0; i < thresholds_count; ++i) {
    check_range("threshold", thresholds[i], lowest, kLimit);
    lowest = thresholds[i];
  }
  // The answer for each integer up to one above the last threshold. Most values are small: few lines of it are touched.
  std::vector<uint8_t> answers(static_cast<size_t>(lowest) + 2, static_cast<uint8_t>(thresholds_count));
  auto from = answers.begin();
  for (int64_t i = 0; i < thresholds_count; ++i) {
    const auto to = answers.begin() + thresholds[i] + 1;
    std::fill(from, to, static_cast<uint8_t>(i));
    from = to;
  }
  const float highest = static_cast<float>(answers.size() - 1);
  for_blocks(count, threads, [&](int64_t first, int64_t n) {
    for (int64_t i = first; i < first + n; ++i) {
      const float bounded = values[i] > 0 ? (values[i] < highest ? values[i] : highest) : 0;
      indexes[i] = answers[static_cast<size_t>(static_cast<int32_t>(bounded))];
    }
  });
}

}  // namespace pylatent::exact
