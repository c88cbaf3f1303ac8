// The vocabulary of device.h for nvcc: thin names for PTX instructions and the CUDA runtime.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "common/vec.h"

namespace pylatent {

using bf16 = __nv_bfloat16;
using f16 = __half;

__device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(f16 x) { return __half2float(x); }
__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ double to_float(double x) { return x; }

template <class T>
__device__ __forceinline__ T from_float(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return __float2bfloat16_rn(x);
  } else if constexpr (std::is_same_v<T, f16>) {
    return __float2half_rn(x);
  } else {
    static_assert(std::is_same_v<T, float>, "from_float makes bf16, f16 or float");
    return x;
  }
}

// Two at once, in one instruction each way.
template <class T>
__device__ __forceinline__ Vec<float, 2> to_floats(const Vec<T, 2>& x) {
  if constexpr (std::is_same_v<T, bf16>) {
    const uint32_t bits = bit_cast<uint32_t>(x);
    return {{__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000u)}};
  } else if constexpr (std::is_same_v<T, f16>) {
    return bit_cast<Vec<float, 2>>(__half22float2(__halves2half2(x[0], x[1])));
  } else {
    return x;
  }
}
template <class T>
__device__ __forceinline__ Vec<T, 2> from_floats(float first, float second) {
  if constexpr (std::is_same_v<T, bf16>) {
    const __nv_bfloat162 both = __floats2bfloat162_rn(first, second);
    return {{__low2bfloat16(both), __high2bfloat16(both)}};
  } else if constexpr (std::is_same_v<T, f16>) {
    const __half2 both = __floats2half2_rn(first, second);
    return {{__low2half(both), __high2half(both)}};
  } else {
    return {{first, second}};
  }
}

template <class T>
using Global = T*;
template <class T>
using Shared = T*;

template <class T>
Global<T> global(T* pointer, int64_t) {
  return pointer;
}
template <class T>
Global<T> global(uintptr_t address, int64_t) {
  return reinterpret_cast<T*>(address);
}

template <class T>
__device__ __forceinline__ Shared<T> dynamic_shared(int64_t byte_offset) {
  extern __shared__ __align__(128) unsigned char pylatent_shared_memory[];
  return reinterpret_cast<T*>(pylatent_shared_memory + byte_offset);
}

namespace detail {

template <int BYTES>
struct Word;
template <>
struct Word<2> {
  using type = uint16_t;
};
template <>
struct Word<4> {
  using type = uint32_t;
};
template <>
struct Word<8> {
  using type = uint2;
};
template <>
struct Word<16> {
  using type = uint4;
};

__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

}  // namespace detail

// Through a word of its own: memcpy from global memory itself becomes a load for each byte (nvcc 13.0).
template <int N, class T>
__device__ __forceinline__ Vec<std::remove_const_t<T>, N> load_vec(T* p) {
  using Word = typename detail::Word<sizeof(T) * N>::type;
  const Word word = *reinterpret_cast<const Word*>(p);
  return bit_cast<Vec<std::remove_const_t<T>, N>>(word);
}

template <class T, int N>
__device__ __forceinline__ void store_vec(T* p, const Vec<T, N>& v) {
  using Word = typename detail::Word<sizeof(T) * N>::type;
  *reinterpret_cast<Word*>(p) = bit_cast<Word>(v);
}

template <int N>
__device__ __forceinline__ void atomic_add_vec(Global<float> p, const Vec<float, N>& v) {
#if __CUDA_ARCH__ >= 900
  if constexpr (N == 4) {
    atomicAdd(reinterpret_cast<float4*>(p), make_float4(v[0], v[1], v[2], v[3]));
  } else {
    static_assert(N == 2, "two or four floats");
    atomicAdd(reinterpret_cast<float2*>(p), make_float2(v[0], v[1]));
  }
#else
  static_assert(N == 2 || N == 4, "two or four floats");
#pragma unroll
  for (int i = 0; i < N; ++i) atomicAdd(p + i, v[i]);
#endif
}

template <int BYTES, class T, class U>
__device__ __forceinline__ void cp_async(T* shared, U* global, bool valid = true) {
  static_assert(std::is_same_v<T, std::remove_const_t<U>>, "both sides hold the same type");
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "4, 8 or 16 bytes");
  const int bytes = valid ? BYTES : 0;  // what is not copied is filled with zeros
  if constexpr (BYTES == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(detail::shared_address(shared)), "l"(global),
                 "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(detail::shared_address(shared)), "l"(global),
                 "n"(BYTES), "r"(bytes)
                 : "memory");
  }
}

__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int N>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

template <class T>
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], T* row) {
  static_assert(sizeof(T) == 2, "ldmatrix moves elements of two bytes");
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(detail::shared_address(row))
               : "memory");
}

template <class T>
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], T* row) {
  static_assert(sizeof(T) == 2, "ldmatrix moves elements of two bytes");
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(detail::shared_address(row))
               : "memory");
}

template <class T>
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], T* row) {
  static_assert(sizeof(T) == 2, "ldmatrix moves elements of two bytes");
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(detail::shared_address(row))
               : "memory");
}

template <class T>
__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], T* row) {
  static_assert(sizeof(T) == 2, "ldmatrix moves elements of two bytes");
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(detail::shared_address(row))
               : "memory");
}

// d += a b, with d 16 x 8 floats, a 16 x 16 row-major, b 16 x 8 column-major.
template <class T>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<T, bf16>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    static_assert(std::is_same_v<T, f16>, "m16n8k16 multiplies bf16 or f16");
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

// d += a b, with d 16 x 8 floats, a 16 x 8 row-major, b 8 x 8 column-major, both rounded by to_tf32.
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a b modulo 2^32, with d 16 x 8 integers, a 16 x 32 row-major, b 32 x 8 column-major, of signed or unsigned
// bytes.
template <class A, class B>
__device__ __forceinline__ void mma_m16n8k32(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  static_assert(sizeof(A) == 1 && sizeof(B) == 1, "m16n8k32 multiplies bytes");
  constexpr bool signed_a = std::is_signed_v<A>, signed_b = std::is_signed_v<B>;
#define PYLATENT_MMA(a_type, b_type)                                                  \
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32." a_type "." b_type             \
               ".s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])                       \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
  if constexpr (signed_a && signed_b) {
    PYLATENT_MMA("s8", "s8");
  } else if constexpr (signed_a) {
    PYLATENT_MMA("s8", "u8");
  } else if constexpr (signed_b) {
    PYLATENT_MMA("u8", "s8");
  } else {
    PYLATENT_MMA("u8", "u8");
  }
#undef PYLATENT_MMA
}

__device__ __forceinline__ uint32_t to_tf32(float x) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

// One instruction each, for arguments and results that are no denormal numbers; CUDA's intrinsics take up to four more
// for those.
__device__ __forceinline__ float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float fast_log2(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float fast_divide(float a, float b) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(b));
  return a * y;
}
__device__ __forceinline__ float fast_exp(float x) { return __expf(x); }
__device__ __forceinline__ float fast_log(float x) { return __logf(x); }

inline void check_cuda(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw std::runtime_error("CUDA: " + std::string(what) + ": " + cudaGetErrorString(status));
}

// Makes `device` current while it lives.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    check_cuda(cudaGetDevice(&before_), "the current device cannot be read");
    changed_ = device != before_;
    if (changed_) check_cuda(cudaSetDevice(device), "the device cannot be selected");
  }
  ~DeviceGuard() {
    if (changed_) cudaSetDevice(before_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

inline int multiprocessor_count(int device) {
  int count = 0;
  check_cuda(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "multiprocessors");
  return count;
}

// Starts `kernel` on the stream and checks that it started; `name` is for the message.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            uintptr_t stream, const Arguments&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument per parameter of the kernel");
  constexpr size_t default_limit = 48 * 1024;
  if (shared_bytes > default_limit) {
    check_cuda(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared_bytes)),
               name);
  }
  kernel<<<grid, block, shared_bytes, reinterpret_cast<cudaStream_t>(stream)>>>(static_cast<Parameters>(arguments)...);
  check_cuda(cudaGetLastError(), name);
}

}  // namespace pylatent
