// Deformable convolution, gradients of input, offset and mask, from the gradient of a tile of columns, in one pass that
// can leave the columns themselves behind for the gradient of the weight. A sample adds to four corners, as floats of
// which compute capability 9.0 adds four at once: that is the operator's scatter, which the L2 cache has to bear.
#include "deform_conv2d/deform_conv2d_launch.h"
#include "deform_conv2d/deform_conv2d_sampling.h"

namespace pylatent {
namespace deform_conv2d {
namespace {

// What is not needed is null. `fixed` is the gradient of input in units of 1 / scale[0].
template <class T>
struct Gradients {
  Global<float> input;
  Global<unsigned long long> fixed;
  Global<const float> scale;
  Result<T> offset, mask;
};

// Adds four channels' contributions to the gradient of a corner.
template <class T>
__device__ __forceinline__ void add_to_input(const Gradients<T>& gradients, int64_t at, const Vec<float, 4>& sample) {
  if (gradients.input) {
    atomic_add_vec(gradients.input + at, sample);
    return;
  }
  const float scale = gradients.scale[0];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    atomicAdd(gradients.fixed + (at + i), static_cast<unsigned long long>(llrintf(sample[i] * scale)));
  }
}

template <class T>
__global__ void __launch_bounds__(THREADS, 2)
    scatter_kernel(DeformConv2dSizes s, Pixels tile, int passes, Global<const T> input, Given<T> offset, Given<T> mask,
                   Global<T> columns, bool keep, Gradients<T> gradients) {
  constexpr int VEC = Gathered<T>::VEC, STEP = LANES * VEC;
  const int offset_group = blockIdx.y, segments = s.segments / s.offset_groups, taps = s.kernel_h * s.kernel_w;
  const int64_t pixel_stride = int64_t{s.segments} * s.segment;
  const bool to_coordinates = gradients.offset || gradients.mask, to_input = gradients.input || gradients.fixed;
  for (int pass = 0; pass < passes; ++pass) {
    const Sample at = sample_of_thread(passes, pass, taps);
    const bool valid = at.row < tile.count;  // all lanes of a warp meet at the shuffles
    const Pixel pixel = output_pixel(s, tile, at.row);
    const Place place(s, pixel, offset_group, at.tap);
    const float factor = valid && mask ? mask.at(place.mask) : 1.0f;
    const Corners c =
        valid ? corners(s, pixel, at.tap, offset.at(place.y), offset.at(place.x)) : Corners{{{-1, -1, -1, -1}}, 0, 0};
    const Vec<float, 4> weights = c.weights(factor);
    float dots[4] = {};  // of the gradient and each corner, over channels
    for (int i = offset_group * segments; valid && i < (offset_group + 1) * segments; ++i) {
      const Global<T> column_at = columns + column(s, tile, at, i);
      const Global<const T> from = input + int64_t{i} * s.segment;
      for (int channel = threadIdx.x % LANES * VEC; channel < s.segment; channel += STEP) {
        const Vec<T, VEC> gradient = load_vec<VEC>(column_at + channel);
        Gathered<T> gathered;
        if (to_coordinates || keep) gathered.load(from + channel, c, pixel_stride);
        if (keep) store_vec(column_at + channel, gathered.interpolate(weights));
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          if (c.pixel[k] < 0) continue;
          const int64_t corner = c.pixel[k] * pixel_stride + int64_t{i} * s.segment + channel;
#pragma unroll
          for (int part = 0; part < VEC; part += 4) {
            const Vec<float, 2> left = to_floats(Vec<T, 2>{{gradient[part], gradient[part + 1]}});
            const Vec<float, 2> right = to_floats(Vec<T, 2>{{gradient[part + 2], gradient[part + 3]}});
            if (to_coordinates) {
              const Vec<float, 2> x = gathered.pair(k, part / 2), y = gathered.pair(k, part / 2 + 1);
              dots[k] += left[0] * x[0] + left[1] * x[1] + right[0] * y[0] + right[1] * y[1];
            }
            if (to_input) {
              const float w = weights[k];
              add_to_input(gradients, corner + part, {{w * left[0], w * left[1], w * right[0], w * right[1]}});
            }
          }
        }
      }
    }
    if (!to_coordinates) continue;
    const float above = dots[1] - dots[0], below = dots[3] - dots[2];  // along the columns
    float to_mask = (1 - c.down) * (dots[0] + c.right * above) + c.down * (dots[2] + c.right * below);
    float to_y = dots[2] + c.right * below - dots[0] - c.right * above;
    float to_x = (1 - c.down) * above + c.down * below;
#pragma unroll
    for (int lanes = LANES / 2; lanes > 0; lanes /= 2) {
      to_mask += __shfl_xor_sync(0xffffffffu, to_mask, lanes);
      to_y += __shfl_xor_sync(0xffffffffu, to_y, lanes);
      to_x += __shfl_xor_sync(0xffffffffu, to_x, lanes);
    }
    if (threadIdx.x % LANES != 0 || !valid) continue;
    if (gradients.mask) gradients.mask.set(place.mask, to_mask);
    if (gradients.offset) {
      gradients.offset.set(place.y, factor * to_y);
      gradients.offset.set(place.x, factor * to_x);
    }
  }
}

}  // namespace
}  // namespace deform_conv2d

void deform_conv2d_cuda_scatter(uintptr_t input, uintptr_t offset, uintptr_t mask, uintptr_t columns, bool keep,
                                uintptr_t scale, uintptr_t grad_input, uintptr_t grad_offset, uintptr_t grad_mask,
                                const DeformConv2dPlan& plan) {
  using namespace deform_conv2d;
  const DeformConv2dSizes s = checked_sizes(plan);
  const Counts n = counts(s, plan);
  const uintptr_t floats = scale ? 0 : grad_input, fixed = scale ? grad_input : 0;
  const DeviceGuard guard(plan.device);
  with_type("deform_conv2d_cuda_scatter", plan, [&](auto type) {
    using T = typename decltype(type)::type;
    const Gradients<T> gradients{
        global<float>(floats, floats ? n.input : 0), global<unsigned long long>(fixed, fixed ? n.input : 0),
        global<const float>(scale, scale ? 1 : 0), result<T>(grad_offset, plan.dtypes[1], 2 * n.samples),
        result<T>(grad_mask, plan.dtypes[2], n.samples)};
    const Deal dealt = deal(s, plan);
    launch("deform_conv2d scatter", scatter_kernel<T>, dealt.grid, dim3(THREADS), 0, plan.stream, s,
           Pixels{static_cast<int>(plan.pixels[0]), static_cast<int>(plan.pixels[1])}, dealt.passes,
           global<const T>(input, n.input), given<T>(offset, plan.dtypes[1], 2 * n.samples),
           given<T>(mask, plan.dtypes[2], n.samples), global<T>(columns, n.columns), keep, gradients);
  });
}

}  // namespace pylatent
