#include <algorithm>
#include <stdexcept>
#include <utility>

#include "common/checks.h"
#include "common/cpu.h"
#include "common/parallel.h"
#include "exact_conv/activations.h"
#include "exact_conv/exact_conv.h"
#include "exact_conv/exact_kernel.h"

namespace pylatent::exact {
namespace {

constexpr int64_t kTaskTiles = 16;
constexpr double kProduct = 0.02;             // nanoseconds
constexpr int64_t kGroup = INT64_C(1) << 18;  // elements of the largest activations that run together

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
    parallel_for(count * height_, kCopy * static_cast<double>(count * area), threads_, [&](int64_t task) {
      const int64_t image = images[static_cast<size_t>(task / height_)], row = task % height_;
      A* out = staged.get() + task * width_ * layer_.channels;
      ((stage(from_, image, border_, layer_.channels, row, out, parts), out += count * area), ...);
    });
    const std::vector<Task> tasks = share(count);
    parallel_for(static_cast<int64_t>(tasks.size()), kProduct * products(count), threads_, [&](int64_t number) {
      const Task& task = tasks[static_cast<size_t>(number)];
      const int64_t image = images[static_cast<size_t>(task.image)];
      to_.see(image, tiles(task, image, staged.get() + task.image * area, count * area, weights, kernel));
    });
  }

  double products(int64_t images) const {
    int64_t products = 0;
    for (const Phase& phase : layer_.phases) {
      products += layer_.phase_size(phase, to_.size).area() * static_cast<int64_t>(phase.taps.size());
    }
    return static_cast<double>(images * products * layer_.channels * layer_.shape.outputs);
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

}  // namespace pylatent::exact
