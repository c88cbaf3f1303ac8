// The vocabulary of CUDA kernels: the one header of the project that a kernel file includes.
//
// nvcc compiles a kernel file for the GPU. A host compiler compiles the same file for the emulator, which the tests run
// (docs/cuda-without-a-gpu.md). Both headers define the same names:
//
//   bf16, f16, to_float(x), from_float<T>(x)            storage types; arithmetic is done in float
//   to_floats(v), from_floats<T>(x, y)                  the same of two
//   Global<T>, Shared<T>                                pointers; T const or not. p[i], p + n, if (p)
//   global(pointer, count), dynamic_shared<T>(byte)     how they are made: on the host, in the kernel
//   Vec<T, N>, load_vec<N>(p), store_vec(p, v)          4, 8 or 16 bytes at once, aligned to their size
//   atomicAdd(p, x), atomic_add_vec(p, v)               the latter adds 2 or 4 floats, aligned, each atomically
//   cp_async<BYTES>(shared, global, valid), cp_async_commit(), cp_async_wait<N>()
//   ldmatrix_x4, ldmatrix_x4_trans, ldmatrix_x2, ldmatrix_x2_trans (registers, row)
//   mma_m16n8k16<T>(d, a, b), mma_m16n8k8_tf32(d, a, b), to_tf32(x), mma_m16n8k32<A, B>(d, a, b)
//   fast_exp(x), fast_exp2(x), fast_log(x), fast_log2(x), fast_divide(a, b)
//   launch(name, kernel, grid, block, shared_bytes, stream, arguments...), DeviceGuard, multiprocessor_count(device)
//
// besides CUDA's own threadIdx, __syncthreads, __shfl_sync and so on. Shared memory is dynamic only.
#pragma once

#include "common/dtype.h"
#include "common/vec.h"

#ifdef __CUDACC__
#include "common/device_cuda.h"
#else
#include "common/device_emulated.h"
#endif
