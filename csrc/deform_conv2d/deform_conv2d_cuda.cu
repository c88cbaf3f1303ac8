// Deformable convolution, forward: rows are output pixels, columns the outputs of a group, the depth runs over
// segments, taps and channels. While tensor cores multiply a step, the corners of the next one are on their way into
// registers and the weights of the one after into shared memory.
// Warps ask for about six times the bytes of the tensors (docs/cuda-report.md): four corners a sample, nine taps, and
// the weights once a tile. Nearly all of it comes from caches, since samples of neighbours share their corners.
#include "deform_conv2d/deform_conv2d_dispatch.h"
#include "deform_conv2d/deform_conv2d_sampling.h"
#include "deform_conv2d/deform_conv2d_tiles.h"

namespace pylatent {
namespace deform_conv2d {
namespace {

struct Output {
  int channels;  // per group
  int64_t batch_stride, channel_stride, pixel_stride;
};

// One step of depth after the other; tap_count counts taps over all segments.
struct Depth {
  int segment, tap = 0, channel = 0, tap_count = 0;

  __device__ void advance(const DeformConv2dSizes& s, int channels) {
    channel += channels;
    if (channel < s.segment) return;
    channel = 0;
    next_tap(s);
  }
  __device__ void next_tap(const DeformConv2dSizes& s) {
    ++tap_count;
    if (++tap < s.kernel_h * s.kernel_w) return;
    tap = 0;
    ++segment;
  }
};

template <class M, int MT, int NT>
struct ForwardMemory {
  static constexpr int ROWS = 32 * MT, COLUMNS = 32 * NT, STAGES = 3;
  static constexpr int A_STRIDE = ALONG_STRIDE<M>, B_STRIDE = across_stride(COLUMNS);
  static constexpr int A = ROWS * A_STRIDE, B = M::DEPTH * B_STRIDE;  // elements of a stage
  static constexpr int B_BYTE = 2 * A * sizeof(typename M::T);
  static constexpr int PIXELS_BYTE = B_BYTE + STAGES * B * sizeof(typename M::T);
  static constexpr int WEIGHTS_BYTE = PIXELS_BYTE + 2 * ROWS * 16;
  static constexpr int BYTES = WEIGHTS_BYTE + 2 * ROWS * 16;
};

template <class M, int MT, int NT>
__global__ void __launch_bounds__(THREADS)
    forward_kernel(DeformConv2dSizes s, Output out, Global<const typename M::T> input, Global<const float> offset,
                   Global<const float> mask, Global<const typename M::T> weight, Global<const typename M::T> bias,
                   Global<typename M::T> output) {
  using T = typename M::T;
  using Memory = ForwardMemory<M, MT, NT>;
  constexpr int ROWS = Memory::ROWS, VECS = M::DEPTH / M::VEC;
  static_assert(ROWS * VECS <= THREADS, "a thread gathers one vector a step");
  const Shared<T> a = dynamic_shared<T>(0);
  const Shared<T> b = dynamic_shared<T>(Memory::B_BYTE);
  const Shared<int> plan_pixels = dynamic_shared<int>(Memory::PIXELS_BYTE);
  const Shared<float> plan_weights = dynamic_shared<float>(Memory::WEIGHTS_BYTE);
  const auto plan = [&](int tap_count) {
    const int at = tap_count % 2 * 4 * ROWS;
    return Plan{plan_pixels + at, plan_weights + at};
  };

  const int thread = threadIdx.x;
  const int group = blockIdx.z, first_column = blockIdx.y * Memory::COLUMNS;
  const unsigned first_row = blockIdx.x * ROWS;
  const int taps = s.kernel_h * s.kernel_w, segments = s.segments / s.groups;
  const int steps = segments * taps * ((s.segment + M::DEPTH - 1) / M::DEPTH);
  const Depth start{group * segments};

  Depth weight_depth = start;
  const auto fetch_weights = [&](int step) {
    if (step < steps) {
      const int64_t row = (int64_t{weight_depth.segment} * taps + weight_depth.tap) * s.segment;
      const int channel = weight_depth.channel;
      fetch<M, M::DEPTH, Memory::COLUMNS>(b + step % Memory::STAGES * Memory::B, Memory::B_STRIDE, [&](int k, int n) {
        return Source<T>{weight + (row + channel + k) * s.outputs + first_column + n,
                         channel + k < s.segment && first_column + n < s.outputs};
      });
      weight_depth.advance(s, M::DEPTH);
    }
    cp_async_commit();
  };

  // Plans: thread r computes row r. The displacements of a tap are loaded one tap ahead.
  const bool plans = thread < ROWS;
  const Pixel pixel = output_pixel(s, first_row + thread);
  Depth plan_depth = start;
  Displacement displacement{};
  const auto load_next = [&] {
    if (plans && plan_depth.tap_count < segments * taps) {
      const int offset_group = plan_depth.segment / (s.segments / s.offset_groups);
      displacement = load_displacement(s, offset, mask, pixel, offset_group, plan_depth.tap);
    }
  };
  const auto write_plan = [&] {
    if (plan_depth.tap_count < segments * taps) {
      if (plans)
        plan(plan_depth.tap_count).write(thread, corners(s, pixel, plan_depth.tap, displacement), displacement.mask);
      plan_depth.next_tap(s);
      load_next();
    }
  };

  // Samples: a thread gathers one vector of one row.
  const int row = row_of(thread), vec = thread % VECS * M::VEC;
  const bool gathers = row < ROWS;
  Depth depth = start;
  Gathered<T> gathered;
  const auto gather = [&] {
    const int64_t channel = int64_t{depth.segment} * s.segment + depth.channel + vec;
    if (gathers) {
      gathered.load(plan(depth.tap_count), row, input + channel, int64_t{s.segments} * s.segment,
                    depth.channel + vec < s.segment);
    }
  };
  const auto store_samples = [&](int step) {
    if (gathers) {
      store_vec(a + step % 2 * Memory::A + row * Memory::A_STRIDE + vec,
                gathered.interpolate(plan(depth.tap_count), row));
    }
  };

  load_next();
  write_plan();
  write_plan();
  fetch_weights(0);
  fetch_weights(1);
  __syncthreads();
  gather();
  store_samples(0);

  float acc[MT][NT][4] = {};
  const Place place = warp_place<MT, NT>();
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<1>();
    __syncthreads();
    fetch_weights(step + 2);
    const bool more = step + 1 < steps;
    if (more) {
      depth.advance(s, M::DEPTH);
      gather();
      if (depth.channel == 0) write_plan();
    }
    multiply<M, Stored::along, Stored::across>(acc, a + step % 2 * Memory::A, Memory::A_STRIDE,
                                               b + step % Memory::STAGES * Memory::B, Memory::B_STRIDE, place);
    if (more) store_samples(step + 1);
  }

  const bool pairs = out.channel_stride == 1 && out.channels % 2 == 0;  // aligned, as columns are even
#pragma unroll
  for (int i = 0; i < 2 * MT; ++i) {
    const Pixel p = output_pixel(s, first_row + place.row + 8 * i + place.lane / 4);
    if (p.image < 0) continue;
    const int64_t at = p.image * out.batch_stride + (int64_t{p.y} * s.out_w + p.x) * out.pixel_stride;
#pragma unroll
    for (int j = 0; j < NT; ++j) {
      const int column = first_column + place.column + 8 * j + place.lane % 4 * 2;
      const float (&block)[4] = acc[i / 2][j];
      Vec<T, 2> sums;
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int channel = group * out.channels + column + c;
        const float start = bias && column + c < out.channels ? to_float(bias[channel]) : 0.f;
        sums[c] = from_float<T>(block[i % 2 * 2 + c] + start);
        if (!pairs && column + c < out.channels) output[at + channel * out.channel_stride] = sums[c];
      }
      if (pairs && column < out.channels) store_vec(output + (at + group * out.channels + column), sums);
    }
  }
}

// 320 columns are the outputs of most latents at once, so that nothing is gathered twice; small tiles keep many
// multiprocessors busy where there are few pixels.
using Tiles = TileList<Tile<1, 2>, Tile<2, 2>, Tile<2, 4>, Tile<2, 6>, Tile<2, 10>>;

}  // namespace
}  // namespace deform_conv2d

void deform_conv2d_cuda_forward(uintptr_t input, uintptr_t offset, uintptr_t mask, uintptr_t weight, uintptr_t bias,
                                uintptr_t output, const DeformConv2dShape& shape, int64_t output_channels,
                                const std::array<int64_t, 3>& output_strides, int dtype, int product, int tile,
                                int device, uintptr_t stream) {
  using namespace deform_conv2d;
  const DeformConv2dSizes s = checked_sizes(shape, dtype);
  const Counts n = counts(s);
  if (output_channels <= 0 || output_channels % s.groups != 0 || output_channels / s.groups > s.outputs) {
    throw std::invalid_argument("`output_channels` must be a multiple of " + std::to_string(s.groups) + " up to " +
                                std::to_string(int64_t{s.groups} * s.outputs) + ", got " +
                                std::to_string(output_channels));
  }
  const Output out{static_cast<int>(output_channels / s.groups), output_strides[0], output_strides[1],
                   output_strides[2]};
  const DeviceGuard guard(device);
  with_mode("deform_conv2d_cuda_forward", dtype, product, [&](auto mode) {
    using M = decltype(mode);
    using T = typename M::T;
    const int chosen =
        tile >= 0 ? tile : Tiles::cheapest(n.pixels, s.outputs, s.groups, M::PARTS, multiprocessor_count(device));
    Tiles::with(chosen, [&](auto t) {
      constexpr int MT = decltype(t)::MT, NT = decltype(t)::NT;
      const dim3 grid(static_cast<unsigned>(ceil_divide(n.pixels, 32 * MT)),
                      static_cast<unsigned>(ceil_divide(s.outputs, 32 * NT)), static_cast<unsigned>(s.groups));
      launch("deform_conv2d forward", forward_kernel<M, MT, NT>, grid, dim3(THREADS), ForwardMemory<M, MT, NT>::BYTES,
             stream, s, out, global<const T>(input, n.input), global<const float>(offset, 2 * n.samples),
             global<const float>(mask, mask ? n.samples : 0), global<const T>(weight, n.weight),
             global<const T>(bias, bias ? output_channels : 0), global<T>(output, output_channels * n.pixels));
    });
  });
}

}  // namespace pylatent
