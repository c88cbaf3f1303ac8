// Deformable convolution, gradients of input, offset and mask. A block takes a tile of output pixels and one tap of one
// offset group: it multiplies the gradient of the output by the weight, channels by channels, and the product, the
// gradient of the samples, stays in shared memory: from there it is multiplied by the corners (offset and mask) and
// added to them (input).
// Warps ask for 20 to 30 times the bytes of the tensors (docs/cuda-report.md): for each tap, every sample reads four
// corners and adds to four, in float32. That is the operator's scatter, which the L2 cache has to bear.
#include "deform_conv2d/deform_conv2d_dispatch.h"
#include "deform_conv2d/deform_conv2d_sampling.h"
#include "deform_conv2d/deform_conv2d_tiles.h"

namespace pylatent {
namespace deform_conv2d {
namespace {

// What is not needed is null. `fixed` is the gradient of input in units of 1 / scale[0].
struct Gradients {
  Global<float> input, offset, mask;
  Global<unsigned long long> fixed;
  Global<const float> scale;
};

// One step after the other: segments of an offset group, tiles of their channels, and the depth, which are the outputs
// of the segment's group.
template <class M, int COLUMNS>
struct Step {
  int segment, group, channel = 0, depth = 0;

  __device__ Step(const DeformConv2dSizes& s, int first_segment)
      : segment(first_segment), group(first_segment / (s.segments / s.groups)) {}

  __device__ bool completes(const DeformConv2dSizes& s) const { return depth + M::DEPTH >= s.outputs; }
  __device__ void advance(const DeformConv2dSizes& s) {
    depth += M::DEPTH;
    if (depth < s.outputs) return;
    depth = 0;
    channel += COLUMNS;
    if (channel < s.segment) return;
    channel = 0;
    ++segment;
    group = segment / (s.segments / s.groups);
  }
};

template <class M, int NT>
struct BackwardMemory {
  static constexpr int ROWS = 64, COLUMNS = 32 * NT, STAGES = 3;
  static constexpr int STRIDE = ALONG_STRIDE<M>, PRODUCT_STRIDE = COLUMNS + 8;
  static constexpr int A = ROWS * STRIDE, B = COLUMNS * STRIDE;  // elements of a stage
  static constexpr int B_BYTE = STAGES * A * sizeof(typename M::T);
  static constexpr int PRODUCT_BYTE = B_BYTE + STAGES * B * sizeof(typename M::T);
  static constexpr int PIXELS_BYTE = PRODUCT_BYTE + ROWS * PRODUCT_STRIDE * 4;
  static constexpr int FRACTIONS_BYTE = PIXELS_BYTE + ROWS * 16;
  static constexpr int BYTES = FRACTIONS_BYTE + ROWS * 16;
};

// Adds four channels' contributions to the gradient of a corner.
__device__ __forceinline__ void add_to_input(const Gradients& gradients, int64_t at, float weight,
                                             Vec<float, 4> sample) {
#pragma unroll
  for (int i = 0; i < 4; ++i) sample[i] *= weight;
  if (gradients.input) {
    atomic_add_vec(gradients.input + at, sample);
  } else if (gradients.fixed) {
    const float scale = gradients.scale[0];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      atomicAdd(gradients.fixed + (at + i), static_cast<unsigned long long>(llrintf(sample[i] * scale)));
    }
  }
}

template <class M, int NT>
__global__ void __launch_bounds__(THREADS, 2)
    backward_kernel(DeformConv2dSizes s, Global<const typename M::T> grad_output, Global<const typename M::T> input,
                    Global<const float> offset, Global<const float> mask, Global<const typename M::T> weight,
                    Gradients gradients) {
  using T = typename M::T;
  using Memory = BackwardMemory<M, NT>;
  constexpr int ROWS = Memory::ROWS, COLUMNS = Memory::COLUMNS, STAGES = Memory::STAGES;
  const Shared<T> a = dynamic_shared<T>(0);
  const Shared<T> b = dynamic_shared<T>(Memory::B_BYTE);
  const Shared<float> product = dynamic_shared<float>(Memory::PRODUCT_BYTE);
  const Shared<int> corner_pixels = dynamic_shared<int>(Memory::PIXELS_BYTE);
  const Shared<float> fractions = dynamic_shared<float>(Memory::FRACTIONS_BYTE);

  const int thread = threadIdx.x, taps = s.kernel_h * s.kernel_w;
  const int offset_group = blockIdx.y / taps, tap = blockIdx.y % taps;
  const unsigned first_row = blockIdx.x * ROWS, pixels = static_cast<unsigned>(s.batch) * s.out_h * s.out_w;
  if (thread < ROWS) {
    const Pixel pixel = output_pixel(s, first_row + thread);
    const Displacement d = load_displacement(s, offset, mask, pixel, offset_group, tap);
    const Corners c = corners(s, pixel, tap, d);
    store_vec(corner_pixels + 4 * thread, c.pixel);
    store_vec(fractions + 4 * thread, Vec<float, 4>{{c.down, c.right, d.mask, 0}});
  }

  const int segments = s.segments / s.offset_groups;
  const int steps = segments * ((s.segment + COLUMNS - 1) / COLUMNS) * ((s.outputs + M::DEPTH - 1) / M::DEPTH);
  Step<M, COLUMNS> fetched(s, offset_group * segments), current = fetched;
  const auto fetch_step = [&](int step) {
    if (step < steps) {
      const int group = fetched.group, channel = fetched.channel, depth = fetched.depth, stage = step % STAGES;
      fetch<M, ROWS, M::DEPTH>(a + stage * Memory::A, Memory::STRIDE, [&](int r, int k) {
        return Source<T>{grad_output + ((int64_t{first_row + r} * s.groups + group) * s.outputs + depth + k),
                         first_row + r < pixels && depth + k < s.outputs};
      });
      const int64_t row = (int64_t{fetched.segment} * taps + tap) * s.segment + channel;
      fetch<M, COLUMNS, M::DEPTH>(b + stage * Memory::B, Memory::STRIDE, [&](int c, int k) {
        return Source<T>{weight + ((row + c) * s.outputs + depth + k),
                         channel + c < s.segment && depth + k < s.outputs};
      });
      fetched.advance(s);
    }
    cp_async_commit();
  };

  // After the product: LANES threads share a row, each with four channels; a warp has 8 rows.
  constexpr int LANES = COLUMNS / 4, PASSES = 8 * LANES / 32;
  static_assert(LANES <= 32, "a row belongs to one warp");
  const int lane = thread % LANES, pass_row = thread / 32 * 8 + thread % 32 / LANES;
  float sums[PASSES][3] = {};  // over channels: gradients of mask, y and x
  const auto scatter = [&] {
    if (current.channel + 4 * lane >= s.segment) return;
    const int64_t column = int64_t{current.segment} * s.segment + current.channel + 4 * lane;
#pragma unroll
    for (int pass = 0; pass < PASSES; ++pass) {
      const int row = pass_row + pass * (32 / LANES);
      const Vec<float, 4> sample = load_vec<4>(product + row * Memory::PRODUCT_STRIDE + 4 * lane);
      const Vec<int, 4> corner = load_vec<4>(corner_pixels + 4 * row);
      const Vec<float, 4> f = load_vec<4>(fractions + 4 * row);
      const Vec<float, 4> corner_weight = corner_weights(f[0], f[1], f[2]);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (corner[k] < 0) continue;
        const int64_t at = corner[k] * (int64_t{s.segments} * s.segment) + column;
        if (gradients.offset || gradients.mask) {
          const Vec<T, 4> x = load_vec<4>(input + at);
          float dot = 0;
#pragma unroll
          for (int i = 0; i < 4; ++i) dot += sample[i] * to_float(x[i]);
          const float row_weight = k < 2 ? 1 - f[0] : f[0], column_weight = k % 2 == 0 ? 1 - f[1] : f[1];
          sums[pass][0] += row_weight * column_weight * dot;
          sums[pass][1] += (k < 2 ? -column_weight : column_weight) * dot;
          sums[pass][2] += (k % 2 == 0 ? -row_weight : row_weight) * dot;
        }
        add_to_input(gradients, at, corner_weight[k], sample);
      }
    }
  };

  float acc[2][NT][4] = {};
  const Place place = warp_place<2, NT>();
  fetch_step(0);
  fetch_step(1);
  for (int step = 0; step < steps; ++step, current.advance(s)) {
    cp_async_wait<1>();
    __syncthreads();
    fetch_step(step + 2);
    const int stage = step % STAGES;
    multiply<M, Stored::along, Stored::along>(acc, a + stage * Memory::A, Memory::STRIDE, b + stage * Memory::B,
                                              Memory::STRIDE, place);
    if (!current.completes(s)) continue;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < NT; ++j) {
        const int row = place.row + 16 * i + place.lane / 4, column = place.column + 8 * j + place.lane % 4 * 2;
        float (&block)[4] = acc[i][j];
        store_vec(product + row * Memory::PRODUCT_STRIDE + column, Vec<float, 2>{{block[0], block[1]}});
        store_vec(product + (row + 8) * Memory::PRODUCT_STRIDE + column, Vec<float, 2>{{block[2], block[3]}});
        block[0] = block[1] = block[2] = block[3] = 0;
      }
    }
    __syncthreads();
    scatter();
  }

  if (!gradients.offset && !gradients.mask) return;
#pragma unroll
  for (int pass = 0; pass < PASSES; ++pass) {
#pragma unroll
    for (float& sum : sums[pass]) {
#pragma unroll
      for (int step = LANES / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    }
    const int row = pass_row + pass * (32 / LANES);
    const Pixel p = output_pixel(s, first_row + row);
    if (lane != 0 || p.image < 0) continue;
    const float factor = fractions[4 * row + 2];
    const int64_t plane = int64_t{s.out_h} * s.out_w, at = int64_t{p.y} * s.out_w + p.x;
    const int64_t index = (int64_t{p.image} * s.offset_groups + offset_group) * taps + tap;
    if (gradients.mask) gradients.mask[index * plane + at] = sums[pass][0];
    if (gradients.offset) {
      gradients.offset[2 * index * plane + at] = factor * sums[pass][1];
      gradients.offset[(2 * index + 1) * plane + at] = factor * sums[pass][2];
    }
  }
}

using Tiles = TileList<Tile<2, 2>, Tile<2, 4>>;

}  // namespace
}  // namespace deform_conv2d

void deform_conv2d_cuda_backward(uintptr_t grad_output, uintptr_t input, uintptr_t offset, uintptr_t mask,
                                 uintptr_t weight, uintptr_t scale, uintptr_t grad_input, uintptr_t grad_offset,
                                 uintptr_t grad_mask, const DeformConv2dShape& shape, int dtype, int product, int tile,
                                 int device, uintptr_t stream) {
  using namespace deform_conv2d;
  const DeformConv2dSizes s = checked_sizes(shape, dtype);
  const Counts n = counts(s);
  const uintptr_t floats = scale ? 0 : grad_input, fixed = scale ? grad_input : 0;
  const Gradients gradients{
      global<float>(floats, floats ? n.input : 0), global<float>(grad_offset, grad_offset ? 2 * n.samples : 0),
      global<float>(grad_mask, grad_mask ? n.samples : 0), global<unsigned long long>(fixed, fixed ? n.input : 0),
      global<const float>(scale, scale ? 1 : 0)};
  const DeviceGuard guard(device);
  with_mode("deform_conv2d_cuda_backward", dtype, product, [&](auto mode) {
    using M = decltype(mode);
    using T = typename M::T;
    const int items = s.offset_groups * s.kernel_h * s.kernel_w;
    const int chosen =
        tile >= 0 ? tile : Tiles::cheapest(n.pixels, s.segment, items, M::PARTS, multiprocessor_count(device));
    Tiles::with(chosen, [&](auto t) {
      constexpr int NT = decltype(t)::NT;
      const dim3 grid(static_cast<unsigned>(ceil_divide(n.pixels, 64)), static_cast<unsigned>(items));
      launch("deform_conv2d backward", backward_kernel<M, NT>, grid, dim3(THREADS), BackwardMemory<M, NT>::BYTES,
             stream, s, global<const T>(grad_output, n.grad_output), global<const T>(input, n.input),
             global<const float>(offset, 2 * n.samples), global<const float>(mask, mask ? n.samples : 0),
             global<const T>(weight, n.weight), gradients);
    });
  });
}

}  // namespace pylatent
