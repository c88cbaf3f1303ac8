#include "common/device.h"
#include "kernels.h"

namespace pylatent::tests {
namespace {

__global__ void swap_kernel(Global<const float> in, Global<float> out, int64_t n, int variant) {
  const Shared<float> tile = dynamic_shared<float>(0);
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  tile[threadIdx.x] = i < n ? in[i] : 0.0f;
  if (variant != 1) __syncthreads();
  if (i < n || variant == 2) out[i] = tile[threadIdx.x ^ 1];
}

}  // namespace

void swap_pairs(uintptr_t in, uintptr_t out, int64_t n, int block, int variant) {
  const dim3 grid(static_cast<unsigned>((n + block - 1) / block));
  launch("swap", swap_kernel, grid, dim3(block), block * sizeof(float), 0, global<const float>(in, n),
         global<float>(out, n), n, variant);
}

}  // namespace pylatent::tests
