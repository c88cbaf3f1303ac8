// Both pre-activation gradients and their sums, in one pass: it moves five elements for each of the output, and is
// bound by that. Sums are added up in a fixed order, so that results repeat. With channels last and half types, the
// warps' sums conflict in the banks of shared memory: once a block, which is nothing beside what it loads.
#include "gated_fusion/gated_fusion_cuda.h"
#include "gated_fusion/gated_fusion_math.h"

namespace pylatent::gated_fusion {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

template <class T>
struct Arguments {
  Global<const T> grad, out, gate;
  Global<T> grad_u, grad_v;
  Global<float> sums;
  int64_t rows;    // pictures times channels, or pixels
  int columns;     // pixels, or channels
  int64_t blocks;  // of pixels, if rows are pixels
};

// The gradients of E elements, of which the sums grow by u and v.
template <int E, class T>
__device__ inline void step(const Arguments<T>& a, int64_t at, float (&u)[E], float (&v)[E]) {
  const Vec<T, E> grad = load_vec<E>(a.grad + at), out = load_vec<E>(a.out + at), gate = load_vec<E>(a.gate + at);
  Vec<T, E> grad_u, grad_v;
#pragma unroll
  for (int i = 0; i < E; ++i) {
    const Gates sigmoid = gates<sizeof(T) == 4>(to_float(gate[i]));
    const float du = to_float(grad[i]) * sigmoid.open, dv = to_float(grad[i]) * to_float(out[i]) * sigmoid.closed;
    grad_u[i] = from_float<T>(du);
    grad_v[i] = from_float<T>(dv);
    u[i] += du;
    v[i] += dv;
  }
  store_vec(a.grad_u + at, grad_u);
  store_vec(a.grad_v + at, grad_v);
}

__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
  return x;
}

// Rows of pixels: ROW_WARPS warps a row, whose sum goes to sums[row] and sums[rows + row].
template <int E, int ROW_WARPS, class T>
__global__ void __launch_bounds__(kThreads) rows_kernel(Arguments<T> a) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t row = int64_t{blockIdx.x} * (kWarps / ROW_WARPS) + warp / ROW_WARPS;
  float u[E] = {}, v[E] = {};
  if (row < a.rows) {
    for (int column = (warp % ROW_WARPS * 32 + lane) * E; column < a.columns; column += ROW_WARPS * 32 * E) {
      step<E>(a, row * a.columns + column, u, v);
    }
  }
  if (!a.sums) return;
  float sum_u = 0, sum_v = 0;
#pragma unroll
  for (int i = 0; i < E; ++i) {
    sum_u += u[i];
    sum_v += v[i];
  }
  sum_u = warp_sum(sum_u);
  sum_v = warp_sum(sum_v);
  if constexpr (ROW_WARPS == 1) {
    if (lane == 0 && row < a.rows) {
      a.sums[row] = sum_u;
      a.sums[a.rows + row] = sum_v;
    }
  } else {
    static_assert(ROW_WARPS == kWarps, "a warp or a block per row");
    const Shared<float> partial = dynamic_shared<float>(0);
    if (lane == 0) {
      partial[warp] = sum_u;
      partial[kWarps + warp] = sum_v;
    }
    __syncthreads();
    if (threadIdx.x < 2) {
      float sum = 0;
      for (int i = 0; i < kWarps; ++i) sum += partial[int(threadIdx.x) * kWarps + i];
      a.sums[threadIdx.x * a.rows + row] = sum;
    }
  }
}

// Rows of channels: a block takes 8 E of them and ceil(rows / blocks) pixels, 32 at a time.
constexpr int kVectors = 8, kPixels = kThreads / kVectors;

template <int E, class T>
__global__ void __launch_bounds__(kThreads) channels_kernel(Arguments<T> a, int64_t rows_per_block) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int channel = int(blockIdx.y) * kVectors * E + int(threadIdx.x) % kVectors * E;
  const int64_t begin = blockIdx.x * rows_per_block, end = min(a.rows, begin + rows_per_block);
  float u[E] = {}, v[E] = {};
  if (channel < a.columns) {
    for (int64_t row = begin + int(threadIdx.x) / kVectors; row < end; row += kPixels) {
      step<E>(a, row * a.columns + channel, u, v);
    }
  }
  if (!a.sums) return;
  const Shared<float> partial = dynamic_shared<float>(0);  // [warp][u, v][channel]
#pragma unroll
  for (int i = 0; i < E; ++i) {
#pragma unroll
    for (int lanes = 16; lanes >= kVectors; lanes /= 2) {
      u[i] += __shfl_xor_sync(0xffffffffu, u[i], lanes);
      v[i] += __shfl_xor_sync(0xffffffffu, v[i], lanes);
    }
    if (lane < kVectors) {
      partial[(2 * warp * kVectors + lane) * E + i] = u[i];
      partial[((2 * warp + 1) * kVectors + lane) * E + i] = v[i];
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 2 * kVectors * E; i += kThreads) {
    const int which = i / (kVectors * E), at = int(blockIdx.y) * kVectors * E + i % (kVectors * E);
    if (at >= a.columns) continue;
    float sum = 0;
    for (int w = 0; w < kWarps; ++w) sum += partial[2 * w * kVectors * E + i];
    a.sums[(which * a.blocks + blockIdx.x) * a.columns + at] = sum;
  }
}

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <int E, class T>
void run_vectors(const Arguments<T>& a, bool channels_last, uintptr_t stream) {
  if (channels_last) {
    const dim3 grid(static_cast<unsigned>(a.blocks), static_cast<unsigned>(divide_up(a.columns, kVectors * E)));
    launch("gated_fusion backward", channels_kernel<E, T>, grid, dim3(kThreads),
           2 * kWarps * kVectors * E * sizeof(float), stream, a, divide_up(a.rows, a.blocks));
  } else if (a.columns > 32 * E * kWarps / 2) {  // a block has work for all its warps in every row
    launch("gated_fusion backward", rows_kernel<E, kWarps, T>, dim3(static_cast<unsigned>(a.rows)), dim3(kThreads),
           2 * kWarps * sizeof(float), stream, a);
  } else {
    launch("gated_fusion backward", rows_kernel<E, 1, T>, dim3(static_cast<unsigned>(divide_up(a.rows, kWarps))),
           dim3(kThreads), 0, stream, a);
  }
}

template <class T>
void run(const CudaBackward& job, uintptr_t stream) {
  const int64_t rows = job.batch * (job.channels_last ? job.pixels : job.channels);
  const int64_t columns = job.channels_last ? job.channels : job.pixels;
  const int64_t count = rows * columns, sums = 2 * job.channels * (job.channels_last ? job.blocks : job.batch);
  const Arguments<T> a{global<const T>(job.grad, count),
                       global<const T>(job.out, count),
                       global<const T>(job.gate, count),
                       global<T>(job.grad_u, count),
                       global<T>(job.grad_v, count),
                       global<float>(job.sums, job.sums == 0 ? 0 : sums),
                       rows,
                       static_cast<int>(columns),
                       job.sums == 0 ? divide_up(rows, 128) : job.blocks};
  const uintptr_t addresses = job.grad | job.out | job.gate | job.grad_u | job.grad_v;
  const auto aligned = [&](int bytes) { return addresses % bytes == 0 && columns * int64_t{sizeof(T)} % bytes == 0; };
  if (aligned(16)) return run_vectors<16 / sizeof(T)>(a, job.channels_last, stream);
  if (aligned(8)) return run_vectors<8 / sizeof(T)>(a, job.channels_last, stream);
  run_vectors<1>(a, job.channels_last, stream);
}

}  // namespace

void cuda_backward(const CudaBackward& job, int device, uintptr_t stream) {
  if (job.batch == 0 || job.channels == 0 || job.pixels == 0) return;
  const DeviceGuard guard(device);
  switch (job.dtype) {
    case Dtype::bfloat16:
      return run<bf16>(job, stream);
    case Dtype::float16:
      return run<f16>(job, stream);
    case Dtype::float32:
      return run<float>(job, stream);
    default:
      unsupported_dtype("gated_fusion", job.dtype);
  }
}

}  // namespace pylatent::gated_fusion
