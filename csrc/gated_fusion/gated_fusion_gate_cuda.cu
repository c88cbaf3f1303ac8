// Biases, sigmoid and product in place over the results of two library products: it moves three elements for each of
// the output, or four where v is kept, and is bound by that.
#include <algorithm>

#include "gated_fusion/gated_fusion_cuda.h"
#include "gated_fusion/gated_fusion_math.h"

namespace pylatent::gated_fusion {
namespace {

constexpr int kThreads = 256;

template <class T>
struct Arguments {
  Global<T> u, v;
  Global<const T> bias_u, bias_v;
  int64_t count;
  int channels, pixels;
  bool keep;
};

// E elements a turn: channels of a pixel, or pixels of a channel.
template <int E, bool CHANNELS_LAST, class T>
__global__ void __launch_bounds__(kThreads) gate_kernel(Arguments<T> a) {
  const int64_t stride = int64_t{E} * gridDim.x * kThreads;
  for (int64_t at = E * (int64_t{blockIdx.x} * kThreads + threadIdx.x); at < a.count; at += stride) {
    const int channel = static_cast<int>(CHANNELS_LAST ? at % a.channels : at / a.pixels % a.channels);
    Vec<T, E> u = load_vec<E>(a.u + at), v = load_vec<E>(a.v + at);
#pragma unroll
    for (int i = 0; i < E; ++i) {
      const int of_bias = channel + (CHANNELS_LAST ? i : 0);
      const float bias_u = a.bias_u ? to_float(a.bias_u[of_bias]) : 0.0f;
      const float bias_v = a.bias_v ? to_float(a.bias_v[of_bias]) : 0.0f;
      const float gate = to_float(v[i]) + bias_v;
      u[i] = from_float<T>((to_float(u[i]) + bias_u) * gates<sizeof(T) == 4>(gate).open);
      v[i] = from_float<T>(gate);
    }
    store_vec(a.u + at, u);
    if (a.keep) store_vec(a.v + at, v);
  }
}

template <int E, class T>
void run_vectors(const Arguments<T>& a, bool channels_last, int device, uintptr_t stream) {
  const int64_t wanted = (a.count + E * kThreads - 1) / (E * kThreads);
  const dim3 grid(static_cast<unsigned>(std::min(wanted, int64_t{16} * multiprocessor_count(device))));
  const auto kernel = channels_last ? gate_kernel<E, true, T> : gate_kernel<E, false, T>;
  launch("gated_fusion gate", kernel, grid, dim3(kThreads), 0, stream, a);
}

template <class T>
void run(const CudaGate& job, int device, uintptr_t stream) {
  const int64_t count = job.batch * job.channels * job.pixels;
  const Arguments<T> a{global<T>(job.u, count),
                       global<T>(job.v, count),
                       global<const T>(job.bias_y, job.bias_y == 0 ? 0 : job.channels),
                       global<const T>(job.bias_s, job.bias_s == 0 ? 0 : job.channels),
                       count,
                       static_cast<int>(job.channels),
                       static_cast<int>(job.pixels),
                       job.keep};
  const int64_t row = (job.channels_last ? job.channels : job.pixels) * int64_t{sizeof(T)};
  const auto aligned = [&](int bytes) { return (job.u | job.v | static_cast<uintptr_t>(row)) % bytes == 0; };
  if (aligned(16)) return run_vectors<16 / sizeof(T)>(a, job.channels_last, device, stream);
  if (aligned(8)) return run_vectors<8 / sizeof(T)>(a, job.channels_last, device, stream);
  run_vectors<1>(a, job.channels_last, device, stream);
}

}  // namespace

void cuda_gate(const CudaGate& job, int device, uintptr_t stream) {
  if (job.batch == 0 || job.channels == 0 || job.pixels == 0) return;
  const DeviceGuard guard(device);
  switch (job.dtype) {
    case Dtype::bfloat16:
      return run<bf16>(job, device, stream);
    case Dtype::float16:
      return run<f16>(job, device, stream);
    case Dtype::float32:
      return run<float>(job, device, stream);
    default:
      unsupported_dtype("gated_fusion", job.dtype);
  }
}

}  // namespace pylatent::gated_fusion
