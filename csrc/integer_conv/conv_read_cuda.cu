// Inputs of integer networks on CUDA: planes of numbers to integers, channels last. A thread has eight channels of a
// pixel, so that a warp reads lines of planes.
#include "common/device.h"
#include "integer_conv/conv_cuda.h"

namespace pylatent::integers {
namespace {

constexpr int kThreads = 128, kChannels = 8;
constexpr int64_t kLargestLatent = (1 << 19) - 1, kLargestValue = 1 << 20;

struct ReadLatent {
  using Result = int16_t;
  Global<const float> latents;
  Global<const int32_t> gains;
  int64_t largest;

  __device__ int64_t operator()(int64_t plane, int64_t at) const {
    const float latent = latents[at];
    const float scaled = latent * 256.0f, number = scaled == scaled ? scaled : 0.0f;
    const float limit = static_cast<float>(kLargestLatent);
    const int64_t units = static_cast<int64_t>(rintf(number < -limit ? -limit : number > limit ? limit : number));
    const int32_t gain = gains[plane];
    const int64_t value = (units * gain + (int64_t{1} << 19)) >> 20;
    return value < -largest ? -largest : value > largest ? largest : value;
  }
};

struct ReadValue {
  using Result = int32_t;
  Global<const double> values;

  __device__ int64_t operator()(int64_t, int64_t at) const {
    const double value = values[at], limit = static_cast<double>(kLargestValue);
    return static_cast<int64_t>(rint(value < limit ? (value > -limit ? value : -limit) : limit));
  }
};

template <class Read>
__global__ void __launch_bounds__(kThreads)
    read_kernel(Read read, CudaImages images, Global<typename Read::Result> out) {
  using T = typename Read::Result;
  constexpr int at_once = 16 / sizeof(T);
  const int64_t area = images.height * images.width, chunks = images.padded / kChannels;
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= images.batch * chunks * area) return;
  const int64_t pixel = i % area, first = i / area % chunks * kChannels, image = i / area / chunks;
  const Global<T> to = out + ((image * area + pixel) * images.padded + first);
#pragma unroll
  for (int part = 0; part < kChannels; part += at_once) {
    Vec<T, at_once> values;
#pragma unroll
    for (int j = 0; j < at_once; ++j) {
      const int64_t channel = first + part + j, plane = image * images.channels + channel;
      values[j] = channel < images.channels ? static_cast<T>(read(plane, plane * area + pixel)) : T{0};
    }
    store_vec(to + part, values);
  }
}

template <class Read>
void run(const char* name, const Read& read, const CudaImages& images, uintptr_t out, int device, uintptr_t stream) {
  const int64_t pixels = images.batch * images.height * images.width, threads = pixels * images.padded / kChannels;
  if (threads == 0) return;
  const DeviceGuard guard(device);
  launch(name, read_kernel<Read>, dim3(static_cast<unsigned>((threads + kThreads - 1) / kThreads)), dim3(kThreads), 0,
         stream, read, images, global<typename Read::Result>(out, pixels * images.padded));
}

}  // namespace

void read_latents_cuda(const CudaImages& images, uintptr_t latents, uintptr_t gains, int64_t largest, uintptr_t out,
                       int device, uintptr_t stream) {
  const int64_t planes = images.batch * images.channels;
  const ReadLatent read{global<const float>(latents, planes * images.height * images.width),
                        global<const int32_t>(gains, planes), largest};
  run("integer_conv latents", read, images, out, device, stream);
}

void read_values_cuda(const CudaImages& images, uintptr_t values, uintptr_t out, int device, uintptr_t stream) {
  const ReadValue read{global<const double>(values, images.batch * images.channels * images.height * images.width)};
  run("integer_conv values", read, images, out, device, stream);
}

}  // namespace pylatent::integers
