#include <algorithm>

#include "common/cpu.h"
#include "common/denormals.h"
#include "common/parallel.h"
#include "deform_conv2d/deform_conv2d_cpu_kernel.h"

namespace pylatent::deform_conv2d {
namespace {

// Nanoseconds of one value.
constexpr double kGather = 0.5, kScatter = 1, kCombine = 0.5, kTranspose = 0.5;

double values(int64_t a, int64_t b, int64_t c) {
  return static_cast<double>(a) * static_cast<double>(b) * static_cast<double>(c);
}

// fn(begin, end) for ranges that together are [0, n); nanoseconds as in parallel_for.
template <class Fn>
void parallel_ranges(int64_t n, int64_t range, double nanoseconds, int threads, Fn&& fn) {
  parallel_for((n + range - 1) / range, nanoseconds, threads,
               [&](int64_t i) { fn(i * range, least(n, (i + 1) * range)); });
}

}  // namespace

template <class T>
void forward(const Tile<T>& tile, int threads) {
  const Kernels<T> kernels = PYLATENT_CALL_VARIANT(simd_level(), kernels, (T()));
  const double samples = values(tile.pixels, tile.channels, tile.geometry.kernel_height * tile.geometry.kernel_width);
  parallel_ranges(tile.pixels, kGroup, kGather * samples, threads, [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    kernels.gather(tile, begin, end);
  });
}

template <class T>
void backward(const Tile<T>& tile, int64_t slices, int threads) {
  const Kernels<T> kernels = PYLATENT_CALL_VARIANT(simd_level(), kernels, (T()));
  // A thread owns channels, of grad_input too: nothing is shared, and the order of all sums is fixed.
  constexpr int64_t kLine = 64 / sizeof(T);
  const int64_t lines = (tile.channels + kLine - 1) / kLine;
  const Geometry& g = tile.geometry;
  const int64_t groups = groups_touched(tile.first_channel, tile.channels, tile.channels_per_offset_group);
  const int64_t dots = 4 * groups * g.kernel_height * g.kernel_width * tile.pixels;
  const double samples = values(tile.pixels, tile.channels, g.kernel_height * g.kernel_width);
  parallel_for(slices, kScatter * samples, threads, [&](int64_t slice) {
    const FlushDenormals flush;
    // A slice fills the dots of the offset groups that it touches.
    if (tile.dots != nullptr && groups > 1) std::fill_n(tile.dots + slice * dots, dots, T(0));
    const int64_t begin = slice * lines / slices * kLine, end = (slice + 1) * lines / slices * kLine;
    kernels.scatter(tile, slice, begin, least(end, tile.channels));
  });
  if (tile.dots == nullptr) return;
  parallel_ranges(tile.pixels, kGroup, kCombine * values(slices, dots, 1), threads, [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    kernels.combine(tile, slices, begin, end);
  });
}

template <class T>
void transpose(const Transpose<T>& all, int threads) {
  const Kernels<T> kernels = PYLATENT_CALL_VARIANT(simd_level(), kernels, (T()));
  const double work = kTranspose * values(all.count, all.rows, all.columns);
  if (all.count == 1) {
    return parallel_ranges(all.columns, 64, work, threads,
                           [&](int64_t begin, int64_t end) { kernels.transpose(all, 0, begin, end); });
  }
  parallel_ranges(all.count, 8, work, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) kernels.transpose(all, i, 0, all.columns);
  });
}

template void transpose(const Transpose<float>&, int);
template void transpose(const Transpose<double>&, int);
template void forward(const Tile<float>&, int);
template void forward(const Tile<double>&, int);
template void backward(const Tile<float>&, int64_t, int);
template void backward(const Tile<double>&, int64_t, int);

}  // namespace pylatent::deform_conv2d
