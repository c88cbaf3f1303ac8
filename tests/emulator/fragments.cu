#include "common/device.h"
#include "kernels.h"

namespace pylatent::tests {
namespace {

template <int COUNT, bool TRANSPOSED>
__global__ void load_kernel(Global<const bf16> in, Global<uint32_t> out) {
  const Shared<bf16> rows = dynamic_shared<bf16>(0);
  const int lane = threadIdx.x;
  cp_async<16>(rows + lane * 8, in + lane * 8);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  uint32_t r[COUNT];
  const Shared<bf16> row = rows + lane * 8;
  if constexpr (COUNT == 4 && TRANSPOSED) {
    ldmatrix_x4_trans(r, row);
  } else if constexpr (COUNT == 4) {
    ldmatrix_x4(r, row);
  } else if constexpr (TRANSPOSED) {
    ldmatrix_x2_trans(r, row);
  } else {
    ldmatrix_x2(r, row);
  }
  for (int i = 0; i < COUNT; ++i) out[lane * COUNT + i] = r[i];
}

enum class Kind { bf16, f16, tf32 };

template <Kind KIND>
__global__ void multiply_kernel(Global<const uint32_t> a, Global<const uint32_t> b, Global<float> d) {
  const int lane = threadIdx.x;
  uint32_t a_registers[4], b_registers[2];
  float d_registers[4];
  for (int i = 0; i < 4; ++i) a_registers[i] = a[lane * 4 + i];
  for (int i = 0; i < 2; ++i) b_registers[i] = b[lane * 2 + i];
  for (int i = 0; i < 4; ++i) d_registers[i] = d[lane * 4 + i];
  if constexpr (KIND == Kind::bf16) {
    mma_m16n8k16<bf16>(d_registers, a_registers, b_registers);
  } else if constexpr (KIND == Kind::f16) {
    mma_m16n8k16<f16>(d_registers, a_registers, b_registers);
  } else {
    for (uint32_t& x : a_registers) x = to_tf32(__uint_as_float(x));
    for (uint32_t& x : b_registers) x = to_tf32(__uint_as_float(x));
    mma_m16n8k8_tf32(d_registers, a_registers, b_registers);
  }
  for (int i = 0; i < 4; ++i) d[lane * 4 + i] = d_registers[i];
}

template <class A, class B>
__global__ void multiply_bytes_kernel(Global<const uint32_t> a, Global<const uint32_t> b, Global<int32_t> d) {
  const int lane = threadIdx.x;
  uint32_t a_registers[4], b_registers[2];
  int32_t d_registers[4];
  for (int i = 0; i < 4; ++i) a_registers[i] = a[lane * 4 + i];
  for (int i = 0; i < 2; ++i) b_registers[i] = b[lane * 2 + i];
  for (int i = 0; i < 4; ++i) d_registers[i] = d[lane * 4 + i];
  mma_m16n8k32<A, B>(d_registers, a_registers, b_registers);
  for (int i = 0; i < 4; ++i) d[lane * 4 + i] = d_registers[i];
}

__global__ void permute_kernel(Global<const uint32_t> in, Global<uint32_t> out) {
  const int lane = threadIdx.x;
  out[lane] = __byte_perm(in[3 * lane], in[3 * lane + 1], in[3 * lane + 2]);
}

}  // namespace

void multiply_bytes(uintptr_t a, uintptr_t b, uintptr_t d, bool signed_a, bool signed_b) {
  const auto kernel =
      signed_a ? (signed_b ? multiply_bytes_kernel<int8_t, int8_t> : multiply_bytes_kernel<int8_t, uint8_t>)
               : (signed_b ? multiply_bytes_kernel<uint8_t, int8_t> : multiply_bytes_kernel<uint8_t, uint8_t>);
  launch("multiply_bytes", kernel, dim3(1), dim3(32), 0, 0, global<const uint32_t>(a, 128),
         global<const uint32_t>(b, 64), global<int32_t>(d, 128));
}

void permute_bytes(uintptr_t in, uintptr_t out) {
  launch("permute_bytes", permute_kernel, dim3(1), dim3(32), 0, 0, global<const uint32_t>(in, 96),
         global<uint32_t>(out, 32));
}

void load_matrices(uintptr_t in, uintptr_t out, int count, bool transposed) {
  const auto kernel = count == 4 ? (transposed ? load_kernel<4, true> : load_kernel<4, false>)
                                 : (transposed ? load_kernel<2, true> : load_kernel<2, false>);
  launch("load_matrices", kernel, dim3(1), dim3(32), 512, 0, global<const bf16>(in, 256),
         global<uint32_t>(out, 32 * count));
}

void multiply(uintptr_t a, uintptr_t b, uintptr_t d, const std::string& kind) {
  const auto kernel = kind == "bf16"  ? multiply_kernel<Kind::bf16>
                      : kind == "f16" ? multiply_kernel<Kind::f16>
                                      : multiply_kernel<Kind::tf32>;
  launch("multiply", kernel, dim3(1), dim3(32), 0, 0, global<const uint32_t>(a, 128), global<const uint32_t>(b, 64),
         global<float>(d, 128));
}

}  // namespace pylatent::tests
