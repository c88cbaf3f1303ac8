// gaussian_bits on CUDA: one elementwise pass each way, 16 bytes of q a thread and turn.
// Beside half types, a thread's floats are 32 bytes, in two requests that share their sectors: warps ask for up to 1.5
// times the bytes, and the L1 cache merges the halves.
#include "common/elementwise_device.h"
#include "gaussian_bits/gaussian_bits_cuda.h"
#include "gaussian_bits/gaussian_bits_math.h"

namespace pylatent {
namespace {

template <class T>
constexpr int N = 16 / sizeof(T);

template <class T, bool VECTORS>
__global__ void __launch_bounds__(kElementwiseThreads)
    forward_kernel(Global<const T> q, Global<const T> scales, Global<float> bits, int64_t count) {
  const int64_t stride = int64_t{N<T>} * gridDim.x * blockDim.x;
  for (int64_t i = N<T> * (int64_t{blockIdx.x} * blockDim.x + threadIdx.x); i < count; i += stride) {
    float x[N<T>], s[N<T>];
    load_floats(x, q, i, count, VECTORS);
    load_floats(s, scales, i, count, VECTORS);
    for (int j = 0; j < N<T>; ++j) x[j] = gaussian::bits<DeviceMath>(x[j], s[j]);
    store_floats(bits, i, count, x, VECTORS);
  }
}

template <class T, bool VECTORS>
__global__ void __launch_bounds__(kElementwiseThreads)
    backward_kernel(Global<const float> grad, Global<const T> q, Global<const T> scales, Global<T> grad_q,
                    Global<T> grad_scales, int64_t count) {
  const int64_t stride = int64_t{N<T>} * gridDim.x * blockDim.x;
  for (int64_t i = N<T> * (int64_t{blockIdx.x} * blockDim.x + threadIdx.x); i < count; i += stride) {
    float g[N<T>], x[N<T>], s[N<T>];
    load_floats(g, grad, i, count, VECTORS);
    load_floats(x, q, i, count, VECTORS);
    load_floats(s, scales, i, count, VECTORS);
    for (int j = 0; j < N<T>; ++j) {
      const gaussian::Gradients<DeviceMath> gradients = gaussian::gradients<DeviceMath>(g[j], x[j], s[j]);
      x[j] = gradients.q;
      s[j] = gradients.scale;
    }
    store_floats(grad_q, i, count, x, VECTORS);
    store_floats(grad_scales, i, count, s, VECTORS);
  }
}

}  // namespace

void gaussian_bits_cuda_forward(uintptr_t q, uintptr_t scales, uintptr_t bits, int64_t count, int dtype, int device,
                                uintptr_t stream) {
  if (count == 0) return;
  const DeviceGuard guard(device);
  with_elements("gaussian_bits", to_dtype(dtype), aligned({q, scales, bits}), [&](auto type, auto vectors) {
    using T = typename decltype(type)::type;
    launch("gaussian_bits forward", forward_kernel<T, vectors()>, elementwise_grid<N<T>>(count, device),
           dim3(kElementwiseThreads), 0, stream, global<const T>(q, count), global<const T>(scales, count),
           global<float>(bits, count), count);
  });
}

void gaussian_bits_cuda_backward(uintptr_t grad, uintptr_t q, uintptr_t scales, uintptr_t grad_q, uintptr_t grad_scales,
                                 int64_t count, int dtype, int device, uintptr_t stream) {
  if (count == 0) return;
  const DeviceGuard guard(device);
  const bool all_aligned = aligned({grad, q, scales, grad_q, grad_scales});
  with_elements("gaussian_bits", to_dtype(dtype), all_aligned, [&](auto type, auto vectors) {
    using T = typename decltype(type)::type;
    launch("gaussian_bits backward", backward_kernel<T, vectors()>, elementwise_grid<N<T>>(count, device),
           dim3(kElementwiseThreads), 0, stream, global<const float>(grad, count), global<const T>(q, count),
           global<const T>(scales, count), global<T>(grad_q, count), global<T>(grad_scales, count), count);
  });
}

}  // namespace pylatent
