// Deformable convolution, gradient of weight: rows are channels of one tap, columns the outputs of a group, the depth
// runs over output pixels, which are gathered anew. Splits of the depth keep many multiprocessors busy.
// Warps ask for four to seven times the bytes of the tensors (docs/cuda-report.md): every tap gathers the picture
// again, and every tile of channels reads the gradient of the output, mostly from caches.
#include "deform_conv2d/deform_conv2d_dispatch.h"
#include "deform_conv2d/deform_conv2d_sampling.h"
#include "deform_conv2d/deform_conv2d_tiles.h"

namespace pylatent {
namespace deform_conv2d {
namespace {

template <class M, int NT>
struct WeightMemory {
  static constexpr int ROWS = 64, COLUMNS = 32 * NT, STAGES = 3;
  static constexpr int A_STRIDE = across_stride(ROWS), B_STRIDE = across_stride(COLUMNS);
  static constexpr int A = M::DEPTH * A_STRIDE, B = M::DEPTH * B_STRIDE;  // elements of a stage
  static constexpr int B_BYTE = 2 * A * sizeof(typename M::T);
  static constexpr int PIXELS_BYTE = B_BYTE + STAGES * B * sizeof(typename M::T);
  static constexpr int WEIGHTS_BYTE = PIXELS_BYTE + 2 * M::DEPTH * 16;
  static constexpr int BYTES = WEIGHTS_BYTE + 2 * M::DEPTH * 16;
};

template <class M, int NT>
__global__ void __launch_bounds__(THREADS, NT < 6 || (NT == 6 && M::PARTS == 1) ? 2 : 1)
    backward_weight_kernel(DeformConv2dSizes s, Global<const typename M::T> grad_output,
                           Global<const typename M::T> input, Global<const float> offset, Global<const float> mask,
                           Global<float> grad_weight) {
  using T = typename M::T;
  using Memory = WeightMemory<M, NT>;
  constexpr int ROWS = Memory::ROWS, VECS = ROWS / M::VEC;
  static_assert(M::DEPTH * VECS == THREADS, "a thread gathers one vector a step");
  const Shared<T> a = dynamic_shared<T>(0);
  const Shared<T> b = dynamic_shared<T>(Memory::B_BYTE);
  const Shared<int> plan_pixels = dynamic_shared<int>(Memory::PIXELS_BYTE);
  const Shared<float> plan_weights = dynamic_shared<float>(Memory::WEIGHTS_BYTE);
  const auto plan = [&](int step) {
    const int at = step % 2 * 4 * M::DEPTH;
    return Plan{plan_pixels + at, plan_weights + at};
  };

  const int thread = threadIdx.x, taps = s.kernel_h * s.kernel_w, tiles = (s.segment + ROWS - 1) / ROWS;
  const int channel = static_cast<int>(blockIdx.x) % tiles * ROWS;
  const int tap = static_cast<int>(blockIdx.x) / tiles % taps, segment = static_cast<int>(blockIdx.x) / tiles / taps;
  const int first_column = blockIdx.y * Memory::COLUMNS;
  const int group = segment / (s.segments / s.groups), offset_group = segment / (s.segments / s.offset_groups);

  const unsigned pixels = static_cast<unsigned>(s.batch) * s.out_h * s.out_w;
  const int all_steps = static_cast<int>((pixels + M::DEPTH - 1) / M::DEPTH);
  const int per_split = (all_steps + static_cast<int>(gridDim.z) - 1) / static_cast<int>(gridDim.z);
  const int first_step = min(all_steps, static_cast<int>(blockIdx.z) * per_split);
  const int steps = min(all_steps, first_step + per_split) - first_step;
  const auto first_pixel = [&](int step) { return static_cast<unsigned>(first_step + step) * M::DEPTH; };

  const auto fetch_gradient = [&](int step) {
    if (step < steps) {
      const unsigned pixel = first_pixel(step);
      fetch<M, M::DEPTH, Memory::COLUMNS>(b + step % Memory::STAGES * Memory::B, Memory::B_STRIDE, [&](int k, int n) {
        return Source<T>{grad_output + ((int64_t{pixel + k} * s.groups + group) * s.outputs + first_column + n),
                         pixel + k < pixels && first_column + n < s.outputs};
      });
    }
    cp_async_commit();
  };

  // Plans: thread k computes depth k. Displacements are loaded one step ahead.
  const bool plans = thread < M::DEPTH;
  Pixel pixel{};
  Displacement displacement{};
  const auto load_next = [&](int step) {
    if (!plans || step >= steps) return;
    pixel = output_pixel(s, first_pixel(step) + thread);
    displacement = load_displacement(s, offset, mask, pixel, offset_group, tap);
  };
  const auto write_plan = [&](int step) {
    if (plans && step < steps) plan(step).write(thread, corners(s, pixel, tap, displacement), displacement.mask);
    load_next(step + 1);
  };

  const int depth = thread / VECS, vec = thread % VECS * M::VEC;
  Gathered<T> gathered;
  const auto gather = [&](int step) {
    gathered.load(plan(step), depth, input + (int64_t{segment} * s.segment + channel + vec),
                  int64_t{s.segments} * s.segment, channel + vec < s.segment);
  };
  const auto store_samples = [&](int step) {
    store_vec(a + step % 2 * Memory::A + depth * Memory::A_STRIDE + vec, gathered.interpolate(plan(step), depth));
  };

  load_next(0);
  write_plan(0);
  write_plan(1);
  fetch_gradient(0);
  fetch_gradient(1);
  __syncthreads();
  if (steps > 0) {
    gather(0);
    store_samples(0);
  }

  float acc[2][NT][4] = {};
  const Place place = warp_place<2, NT>();
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<1>();
    __syncthreads();
    fetch_gradient(step + 2);
    const bool more = step + 1 < steps;
    if (more) {
      gather(step + 1);
      write_plan(step + 2);
    }
    multiply<M, Stored::across, Stored::across>(acc, a + step % 2 * Memory::A, Memory::A_STRIDE,
                                                b + step % Memory::STAGES * Memory::B, Memory::B_STRIDE, place);
    if (more) store_samples(step + 1);
  }

  const int64_t first = ((int64_t{blockIdx.z} * s.segments + segment) * taps + tap) * s.segment;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = channel + place.row + 8 * i + place.lane / 4;
    if (row >= s.segment) continue;
#pragma unroll
    for (int j = 0; j < NT; ++j) {
      const int column = first_column + place.column + 8 * j + place.lane % 4 * 2;
      if (column >= s.outputs) continue;
      const float (&block)[4] = acc[i / 2][j];
      store_vec(grad_weight + ((first + row) * s.outputs + column),
                Vec<float, 2>{{block[i % 2 * 2], block[i % 2 * 2 + 1]}});
    }
  }
}

using Tiles = TileList<Tile<2, 2>, Tile<2, 6>, Tile<2, 10>>;

template <class M>
int choose(const DeformConv2dSizes& s, int tile, int device) {
  if (tile >= 0) return tile;
  const int64_t copies = int64_t{s.segments} * s.kernel_h * s.kernel_w;
  return Tiles::cheapest(s.segment, s.outputs, copies, M::PARTS, multiprocessor_count(device));
}

}  // namespace
}  // namespace deform_conv2d

int64_t deform_conv2d_cuda_weight_splits(const DeformConv2dShape& shape, int dtype, int product, int tile, int device) {
  using namespace deform_conv2d;
  const DeformConv2dSizes s = checked_sizes(shape, dtype);
  int64_t splits = 1;
  with_mode("deform_conv2d_cuda_weight_splits", dtype, product, [&](auto mode) {
    using M = decltype(mode);
    Tiles::with(choose<M>(s, tile, device), [&](auto t) {
      const int64_t blocks = ceil_divide(s.segment, 64) * s.segments * s.kernel_h * s.kernel_w *
                             ceil_divide(s.outputs, 32 * decltype(t)::NT);
      // Two blocks a multiprocessor, but at least 8 steps a block.
      const int64_t wanted = ceil_divide(2 * int64_t{multiprocessor_count(device)}, blocks);
      const int64_t most = ceil_divide(counts(s).pixels, 8 * M::DEPTH);
      splits = wanted < most ? wanted : most;
    });
  });
  return splits;
}

void deform_conv2d_cuda_backward_weight(uintptr_t grad_output, uintptr_t input, uintptr_t offset, uintptr_t mask,
                                        uintptr_t grad_weight, int64_t splits, const DeformConv2dShape& shape,
                                        int dtype, int product, int tile, int device, uintptr_t stream) {
  using namespace deform_conv2d;
  const DeformConv2dSizes s = checked_sizes(shape, dtype);
  const Counts n = counts(s);
  check_range("splits", splits, 1, 65535);
  const DeviceGuard guard(device);
  with_mode("deform_conv2d_cuda_backward_weight", dtype, product, [&](auto mode) {
    using M = decltype(mode);
    using T = typename M::T;
    Tiles::with(choose<M>(s, tile, device), [&](auto t) {
      constexpr int NT = decltype(t)::NT;
      const int64_t rows = ceil_divide(s.segment, 64) * s.segments * s.kernel_h * s.kernel_w;
      check_range("tiles of weight", rows, 1, std::numeric_limits<int>::max());
      const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>(ceil_divide(s.outputs, 32 * NT)),
                      static_cast<unsigned>(splits));
      launch("deform_conv2d backward weight", backward_weight_kernel<M, NT>, grid, dim3(THREADS),
             WeightMemory<M, NT>::BYTES, stream, s, global<const T>(grad_output, n.grad_output),
             global<const T>(input, n.input), global<const float>(offset, 2 * n.samples),
             global<const float>(mask, mask ? n.samples : 0), global<float>(grad_weight, splits * n.weight));
    });
  });
}

}  // namespace pylatent
