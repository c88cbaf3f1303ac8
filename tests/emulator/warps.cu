#include "common/device.h"
#include "kernels.h"

namespace pylatent::tests {
namespace {

// One warp a row; rows are counted along x in the block, along x, y and z in the grid. The last warp may be cut short.
__global__ void sum_rows_kernel(Global<const int> in, Global<int> out, int width, int columns) {
  const int lane = threadIdx.x, x = blockIdx.x * blockDim.y + threadIdx.y;
  const int64_t row = (int64_t{blockIdx.z} * gridDim.y + blockIdx.y) * width + x;
  int sum = 0;
  if (x < width) {
    for (int i = lane; i < columns; i += 32) sum += in[row * columns + i];
  }
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (lane == 0 && x < width) out[row] = sum;
}

__global__ void shuffles_kernel(Global<int> out, int width) {
  const int lane = threadIdx.x, value = 100 + lane;
  const unsigned all = 0xffffffffu;
  out[lane * 8] = __shfl_sync(all, value, 3, width);
  out[lane * 8 + 1] = __shfl_xor_sync(all, value, 2, width);
  out[lane * 8 + 2] = __shfl_down_sync(all, value, 2, width);
  out[lane * 8 + 3] = __shfl_up_sync(all, value, 2, width);
  out[lane * 8 + 4] = static_cast<int>(__ballot_sync(all, lane % 3 == 0));
  out[lane * 8 + 5] = __any_sync(all, lane == 5) + 2 * __all_sync(all, lane != 5);
  const int half = lane % 2 == 0 ? __shfl_sync(0x55555555u, value, 2) : __shfl_sync(0xaaaaaaaau, value, 2);
  out[lane * 8 + 6] = half;  // lane 2 takes no part in the second
  out[lane * 8 + 7] = static_cast<int>(__shfl_sync(all, int64_t{value} << 33, lane) >> 33);
}

__global__ void histogram_kernel(Global<const int> in, Global<int> counts, int n, int bins, int variant) {
  const Shared<int> mine = dynamic_shared<int>(0);
  for (int i = threadIdx.x; i < bins; i += blockDim.x) mine[i] = 0;
  __syncthreads();
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n && variant == 1) mine[in[i]] += 1;
  if (i < n && variant != 1) atomicAdd(&mine[in[i]], 1);
  if (variant != 2) __syncthreads();
  for (int bin = threadIdx.x; bin < bins; bin += blockDim.x) {
    if (variant == 3) {
      counts[bin] += mine[bin];
    } else {
      atomicAdd(counts + bin, int{mine[bin]});
    }
  }
}

}  // namespace

void sum_rows(uintptr_t in, uintptr_t out, int64_t depth, int64_t height, int64_t width, int64_t columns, int warps) {
  const dim3 grid(static_cast<unsigned>((width + warps - 1) / warps), static_cast<unsigned>(height),
                  static_cast<unsigned>(depth));
  const int64_t rows = depth * height * width;
  launch("sum_rows", sum_rows_kernel, grid, dim3(32, warps), 0, 0, global<const int>(in, rows * columns),
         global<int>(out, rows), width, columns);
}

void shuffles(uintptr_t out, int lanes, int width) {
  launch("shuffles", shuffles_kernel, dim3(1), dim3(lanes), 0, 0, global<int>(out, lanes * 8), width);
}

void histogram(uintptr_t in, uintptr_t counts, int64_t n, int64_t bins, int variant) {
  launch("histogram", histogram_kernel, dim3(static_cast<unsigned>((n + 127) / 128)), dim3(128), bins * sizeof(int), 0,
         global<const int>(in, n), global<int>(counts, bins), n, bins, variant);
}

}  // namespace pylatent::tests
