// One bug a kernel, in blocks of 64 threads with 256 bytes of shared memory; `scratch` has 64 floats.
#include <map>

#include "common/device.h"
#include "kernels.h"

namespace pylatent::tests {
namespace {

using Kernel = void (*)(Global<float>);
constexpr unsigned all = 0xffffffffu;

__global__ void divergent_barrier(Global<float> scratch) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    scratch[threadIdx.x] = 1;
    __syncthreads();
  }
}

__global__ void skipped_barrier(Global<float>) {
  if (threadIdx.x >= 10) __syncthreads();
}

__global__ void skipped_lane(Global<float> scratch) {
  float x = 1;
  if (threadIdx.x % 32 != 7) x = __shfl_xor_sync(all, x, 1);
  __syncthreads();
  scratch[threadIdx.x] = x;
}

__global__ void lane_outside_its_mask(Global<float> scratch) { scratch[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 0); }

__global__ void different_collectives(Global<float> scratch) {
  if (threadIdx.x % 32 < 16) {
    scratch[threadIdx.x] = __shfl_sync(all, 1.0f, 0);
  } else {
    __syncwarp();
  }
}

__global__ void divergent_mma(Global<float> scratch) {
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  if (threadIdx.x % 2 == 0) {
    mma_m16n8k16<bf16>(d, a, b);
  } else {
    mma_m16n8k16<bf16>(d, a, b);
  }
  scratch[threadIdx.x] = d[0];
}

__global__ void read_outside(Global<float> scratch) {
  const float x = scratch[int(threadIdx.x) - 3];
  if (x == 1) scratch[threadIdx.x] = x;
}

__global__ void vector_beyond_the_end(Global<float> scratch) {
  store_vec(scratch + (threadIdx.x * 4), Vec<float, 4>{{1, 2, 3, 4}});
}

__global__ void misaligned_vector(Global<float> scratch) {
  if (threadIdx.x == 5) store_vec(scratch + 6, Vec<float, 4>{{1, 2, 3, 4}});
}

__global__ void copy_beyond_the_end(Global<float> scratch) {
  cp_async<16>(dynamic_shared<float>(0) + (threadIdx.x % 16 * 4), Global<const float>(scratch) + (threadIdx.x + 62));
}

__global__ void absent_array(Global<float>) {
  const Global<float> absent = Global<float>();
  if (!absent) absent[threadIdx.x] = 0;
}

__global__ void shared_outside(Global<float>) { dynamic_shared<float>(0)[threadIdx.x + 1] = 1; }

__global__ void shared_misaligned(Global<float>) { dynamic_shared<float>(threadIdx.x * 2)[0] = 1; }

__global__ void shared_uninitialised(Global<float> scratch) {
  const Shared<float> x = dynamic_shared<float>(0);
  if (threadIdx.x != 40) x[threadIdx.x] = 1;
  __syncthreads();
  scratch[threadIdx.x] = x[threadIdx.x];
}

// A warp is no exception: its lanes are ordered by __syncwarp, not by luck.
__global__ void race_in_a_warp(Global<float> scratch) {
  const Shared<float> x = dynamic_shared<float>(0);
  x[threadIdx.x] = 1;
  __syncthreads();
  const float left = x[threadIdx.x ^ 1];
  x[threadIdx.x] = left;
  scratch[threadIdx.x] = left;
}

// A shuffle makes lanes meet, but does not order their memory accesses.
__global__ void shuffle_as_barrier(Global<float> scratch) {
  const Shared<float> x = dynamic_shared<float>(0);
  x[threadIdx.x] = 1;
  const float y = __shfl_xor_sync(all, 1.0f, 1);
  scratch[threadIdx.x] = x[threadIdx.x ^ 1] + y;
}

__global__ void warp_barrier_between_warps(Global<float> scratch) {
  const Shared<float> x = dynamic_shared<float>(0);
  x[threadIdx.x] = 1;
  __syncwarp();
  scratch[threadIdx.x] = x[threadIdx.x ^ 32];
}

__global__ void two_writers(Global<float>) { dynamic_shared<float>(0)[threadIdx.x / 2] = float(threadIdx.x); }

__global__ void read_then_write(Global<float> scratch) {
  const Shared<float> x = dynamic_shared<float>(0);
  x[threadIdx.x] = 1;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < 64; ++i) sum += x[i];
  x[threadIdx.x] = sum;
  scratch[threadIdx.x] = sum;
}

__global__ void two_writers_of_global(Global<float> scratch) { scratch[threadIdx.x / 33] = float(threadIdx.x); }

__global__ void two_blocks_write(Global<float> scratch) {
  if (threadIdx.x == 3) scratch[0] = float(blockIdx.x);
}

__global__ void block_reads_of_another(Global<float> scratch) {
  if (threadIdx.x == 3) scratch[blockIdx.x] = scratch[blockIdx.x ^ 1];
}

__global__ void copy_read_before_its_wait(Global<float> scratch) {
  const Shared<float> x = dynamic_shared<float>(0);
  cp_async<4>(x + threadIdx.x, Global<const float>(scratch) + threadIdx.x);
  cp_async_commit();
  __syncthreads();
  const float y = x[threadIdx.x];
  cp_async_wait<0>();
  if (y == 2) scratch[threadIdx.x] = y;
}

__global__ void copy_not_committed(Global<float> scratch) {
  const Shared<float> x = dynamic_shared<float>(0);
  cp_async<4>(x + threadIdx.x, Global<const float>(scratch) + threadIdx.x);
  cp_async_wait<0>();
  if (x[threadIdx.x] == 2) scratch[threadIdx.x] = 2;
}

__global__ void copy_of_another_thread(Global<float> scratch) {
  const Shared<float> x = dynamic_shared<float>(0);
  cp_async<4>(x + threadIdx.x, Global<const float>(scratch) + threadIdx.x);
  cp_async_commit();
  cp_async_wait<0>();
  if (x[threadIdx.x ^ 1] == 2) scratch[threadIdx.x] = 2;
}

__global__ void copy_never_waited_for(Global<float> scratch) {
  cp_async<4>(dynamic_shared<float>(0) + threadIdx.x, Global<const float>(scratch) + threadIdx.x);
  cp_async_commit();
}

__global__ void write_under_a_copy(Global<float> scratch) {
  const Shared<float> x = dynamic_shared<float>(0);
  cp_async<4>(x + threadIdx.x, Global<const float>(scratch) + threadIdx.x);
  cp_async_commit();
  x[threadIdx.x] = 1;
  cp_async_wait<0>();
}

const std::map<std::string, Kernel> kernels{
#define BUG(name) {#name, name}
    BUG(absent_array),
    BUG(block_reads_of_another),
    BUG(copy_beyond_the_end),
    BUG(copy_never_waited_for),
    BUG(copy_not_committed),
    BUG(copy_of_another_thread),
    BUG(copy_read_before_its_wait),
    BUG(different_collectives),
    BUG(divergent_barrier),
    BUG(divergent_mma),
    BUG(lane_outside_its_mask),
    BUG(misaligned_vector),
    BUG(race_in_a_warp),
    BUG(read_outside),
    BUG(read_then_write),
    BUG(shared_misaligned),
    BUG(shared_outside),
    BUG(shared_uninitialised),
    BUG(shuffle_as_barrier),
    BUG(skipped_barrier),
    BUG(skipped_lane),
    BUG(two_blocks_write),
    BUG(two_writers),
    BUG(two_writers_of_global),
    BUG(vector_beyond_the_end),
    BUG(warp_barrier_between_warps),
    BUG(write_under_a_copy),
#undef BUG
};

}  // namespace

void bug(const std::string& name, uintptr_t scratch) {
  launch("bug", kernels.at(name), dim3(2), dim3(64), 256, 0, global<float>(scratch, 64));
}

void launch_with(int blocks, int block_x, int block_y, int64_t shared_bytes, uintptr_t scratch) {
  launch("bug", divergent_mma, dim3(blocks), dim3(block_x, block_y), shared_bytes, 0, global<float>(scratch, 64));
}

}  // namespace pylatent::tests
