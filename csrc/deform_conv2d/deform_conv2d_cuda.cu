// Deformable convolution, the columns of a tile of output pixels. They are written once, and each of them reads four
// corners: 4 * taps times the bytes of the input, of which the first-level cache holds most, since a block takes all
// taps of neighbouring pixels.
#include "deform_conv2d/deform_conv2d_launch.h"
#include "deform_conv2d/deform_conv2d_sampling.h"

namespace pylatent {
namespace deform_conv2d {
namespace {

template <class T>
__global__ void __launch_bounds__(THREADS, 3)
    gather_kernel(DeformConv2dSizes s, Pixels tile, int passes, Global<const T> input, Given<T> offset, Given<T> mask,
                  Global<T> columns) {
  constexpr int VEC = Gathered<T>::VEC, STEP = LANES * VEC;
  const int offset_group = blockIdx.y, segments = s.segments / s.offset_groups, taps = s.kernel_h * s.kernel_w;
  const int64_t pixel_stride = int64_t{s.segments} * s.segment;
  for (int pass = 0; pass < passes; ++pass) {
    const Sample at = sample_of_thread(passes, pass, taps);
    if (at.row >= tile.count) continue;
    const Pixel pixel = output_pixel(s, tile, at.row);
    const Place place(s, pixel, offset_group, at.tap);
    const Corners c = corners(s, pixel, at.tap, offset.at(place.y), offset.at(place.x));
    const Vec<float, 4> weights = c.weights(mask ? mask.at(place.mask) : 1.0f);
    for (int i = offset_group * segments; i < (offset_group + 1) * segments; ++i) {
      const Global<const T> from = input + int64_t{i} * s.segment;
      const Global<T> to = columns + column(s, tile, at, i);
#pragma unroll 2
      for (int channel = threadIdx.x % LANES * VEC; channel < s.segment; channel += STEP) {
        Gathered<T> gathered;
        gathered.load(from + channel, c, pixel_stride);
        store_vec(to + channel, gathered.interpolate(weights));
      }
    }
  }
}

}  // namespace
}  // namespace deform_conv2d

void deform_conv2d_cuda_gather(uintptr_t input, uintptr_t offset, uintptr_t mask, uintptr_t columns,
                               const DeformConv2dPlan& plan) {
  using namespace deform_conv2d;
  const DeformConv2dSizes s = checked_sizes(plan);
  const Counts n = counts(s, plan);
  const DeviceGuard guard(plan.device);
  with_type("deform_conv2d_cuda_gather", plan, [&](auto type) {
    using T = typename decltype(type)::type;
    const Deal dealt = deal(s, plan);
    launch("deform_conv2d gather", gather_kernel<T>, dealt.grid, dim3(THREADS), 0, plan.stream, s,
           Pixels{static_cast<int>(plan.pixels[0]), static_cast<int>(plan.pixels[1])}, dealt.passes,
           global<const T>(input, n.input), given<T>(offset, plan.dtypes[1], 2 * n.samples),
           given<T>(mask, plan.dtypes[2], n.samples), global<T>(columns, n.columns));
  });
}

}  // namespace pylatent
