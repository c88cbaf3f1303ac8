#include "exact_conv/exact_any.h"

#include <algorithm>

#include "common/parallel.h"
#include "exact_conv/exact_kernel.h"
#include "integer_conv/conv_variants.h"

namespace pylatent::exact {
namespace {

constexpr int64_t kTaskTiles = 16;
constexpr double kProduct = 0.02;  // nanoseconds

Kernels kernels_of(integers::Level level) {
  using integers::Level;
  switch (level) {
#ifdef PYLATENT_X86_SIMD
    case Level::sse2:
      return sse2_kernels();
    case Level::avx2:
      return avx2_kernels();
#ifdef PYLATENT_AVX_VNNI
    case Level::avx_vnni:
      return avx_vnni_kernels();
    case Level::avx512_vl_vnni:
      return avx512_vl_vnni_kernels();
#endif
    case Level::avx512:
      return avx512_kernels();
    case Level::avx512_vnni:
    case Level::amx:
      return vnni_kernels();
#endif
#ifdef PYLATENT_NEON
    case Level::neon:
      return neon_kernels();
#endif
    default:
      return scalar_kernels();
  }
}

// Tiles of one phase and one block of outputs.
struct Task {
  const Block* block;
  const Phase* phase;
  int64_t first_tile, last_tile;
};

// One layer.
class Convolution {
 public:
  Convolution(const Layer& layer, const Activations& from, Activations& to, const Kernels& kernels, int threads)
      : layer_(layer),
        from_(from),
        to_(to),
        kernels_(kernels),
        threads_(threads),
        border_(layer.border(from.size, to.size)),
        height_(border_.top + from.size.height + border_.bottom),
        width_(border_.left + from.size.width + border_.right) {}

  void run() {
    const auto same = [](int32_t a) { return a; };
    if (layer_.wide) {
      convolve<int32_t>(layer_.wide.get(), kernels_.wide, same);
    } else if (from_.largest() <= layer_.narrow_limit) {
      convolve<int16_t>(layer_.narrow.get(), kernels_.narrow, same);
    } else {
      convolve<int16_t>(layer_.narrow.get(), kernels_.split, high_part, low_part);
    }
  }

 private:
  // parts: functions whose values of each activation the kernel reads, all of the first, then those of the next.
  template <class A, class... Parts>
  void convolve(const A* weights, int32_t (*kernel)(const Tile<A>&), Parts... parts) {
    const int64_t area = height_ * width_ * layer_.channels;
    const Aligned<A> staged = allocate<A>(area * static_cast<int64_t>(sizeof...(parts)));
    parallel_for(height_, kCopy * static_cast<double>(area), threads_, [&](int64_t row) {
      A* out = staged.get() + row * width_ * layer_.channels;
      ((stage(from_, border_, layer_.channels, row, out, parts), out += area), ...);
    });
    const std::vector<Task> tasks = share();
    parallel_for(static_cast<int64_t>(tasks.size()), kProduct * products(), threads_, [&](int64_t number) {
      to_.see(tiles(tasks[static_cast<size_t>(number)], staged.get(), area, weights, kernel));
    });
  }

  double products() const {
    int64_t products = 0;
    for (const Phase& phase : layer_.phases) {
      products += layer_.phase_size(phase, to_.size).area() * static_cast<int64_t>(phase.taps.size());
    }
    return static_cast<double>(products * layer_.channels * layer_.shape.outputs);
  }

  // Blocks outermost, so that consecutive tasks share weights.
  std::vector<Task> share() const {
    std::vector<Task> tasks;
    for (const Block& block : layer_.blocks) {
      for (const Phase& phase : layer_.phases) {
        const int64_t tiles = (layer_.phase_size(phase, to_.size).area() + kPixels - 1) / kPixels;
        for (int64_t tile = 0; tile < tiles; tile += kTaskTiles) {
          tasks.push_back({&block, &phase, tile, std::min(tile + kTaskTiles, tiles)});
        }
      }
    }
    return tasks;
  }

  template <class A>
  int32_t tiles(const Task& task, const A* staged, int64_t low, const A* weights,
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
        tile.out[m] = to_.at(row * layer_.out_step + phase.row, column * layer_.out_step + phase.column) + block.first;
      }
      largest = std::max(largest, kernel(tile));
    }
    return largest;
  }

  const Layer& layer_;
  const Activations& from_;
  Activations& to_;
  const Kernels kernels_;
  int threads_;
  Border border_;
  int64_t height_, width_;  // of the staged input
};

}  // namespace

void convolve_any(const Layer& layer, const Activations& from, Activations& to, int threads, int variant) {
  Convolution(layer, from, to, kernels_of(integers::level_of(variant)), threads).run();
}

}  // namespace pylatent::exact
