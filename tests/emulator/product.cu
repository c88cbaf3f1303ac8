#include "common/device.h"
#include "kernels.h"

namespace pylatent::tests {
namespace {

constexpr int tile_m = 32, tile_n = 32, tile_k = 16;
constexpr int a_elements = tile_m * tile_k, b_elements = tile_k * tile_n;

// 4 warps: 2 along M, 2 along N, of 16 x 16 outputs. Two stages; rows beyond M and columns beyond N are zeros.
template <class T>
__global__ void __launch_bounds__(128)
    product_kernel(Global<const T> a, Global<const T> b, Global<float> out, int m, int n, int k, int variant) {
  const Shared<T> a_tiles = dynamic_shared<T>(0);
  const Shared<T> b_tiles = dynamic_shared<T>(2 * a_elements * sizeof(T));
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row0 = blockIdx.y * tile_m, column0 = blockIdx.x * tile_n;

  const auto load_stage = [&](int stage, int k0) {
    if (threadIdx.x < 64) {
      const int row = threadIdx.x / 2, column = threadIdx.x % 2 * 8;
      cp_async<16>(a_tiles + (stage * a_elements + row * tile_k + column), a + (int64_t{row0 + row} * k + k0 + column),
                   row0 + row < m);
    } else {
      const int row = (threadIdx.x - 64) / 4, column = threadIdx.x % 4 * 8;
      cp_async<16>(b_tiles + (stage * b_elements + row * tile_n + column),
                   b + (int64_t{k0 + row} * n + column0 + column), column0 + column < n || variant == 5);
    }
    cp_async_commit();
  };

  float sums[2][4] = {};
  const int steps = k / tile_k;
  load_stage(0, 0);
  for (int step = 0; step < steps; ++step) {
    const int stage = step % 2;
    if (step + 1 < steps) {
      load_stage(stage ^ 1, (step + 1) * tile_k);
    } else {
      cp_async_commit();
    }
    if (variant == 1) {
      cp_async_wait<2>();
    } else {
      cp_async_wait<1>();
    }
    if (variant != 2) __syncthreads();
    uint32_t a_fragment[4];
    ldmatrix_x4(a_fragment, a_tiles + (stage * a_elements + (warp % 2 * 16 + lane % 16) * tile_k + lane / 16 * 8));
    for (int j = 0; j < 2; ++j) {
      uint32_t b_fragment[2];
      const int column = warp / 2 * 16 + j * 8;
      ldmatrix_x2_trans(b_fragment, b_tiles + (stage * b_elements + lane % 16 * tile_n + column));
      mma_m16n8k16<T>(sums[j], a_fragment, b_fragment);
    }
    if (variant != 3) __syncthreads();
  }
  cp_async_wait<0>();

  for (int j = 0; j < 2; ++j) {
    for (int i = 0; i < 4; ++i) {
      const int row = row0 + warp % 2 * 16 + lane / 4 + i / 2 * 8;
      const int column = column0 + warp / 2 * 16 + j * 8 + lane % 4 * 2 + i % 2;
      if ((row < m && column < n) || variant == 4) out[int64_t{row} * n + column] = sums[j][i];
    }
  }
}

}  // namespace

void product(uintptr_t a, uintptr_t b, uintptr_t out, int64_t m, int64_t n, int64_t k, int dtype, int variant) {
  const dim3 grid(static_cast<unsigned>((n + tile_n - 1) / tile_n), static_cast<unsigned>((m + tile_m - 1) / tile_m));
  const auto run = [&](auto type) {
    using T = typename decltype(type)::type;
    launch("product", product_kernel<T>, grid, dim3(128), 2 * (a_elements + b_elements) * sizeof(T), 0,
           global<const T>(a, m * k), global<const T>(b, k * n), global<float>(out, m * n), m, n, k, variant);
  };
  if (to_dtype(dtype) == Dtype::bfloat16) {
    run(Type<bf16>{});
  } else {
    run(Type<f16>{});
  }
}

}  // namespace pylatent::tests
