// sga_sample on CUDA: one elementwise pass, whose noise is that of the CPU kernels. A thread takes four elements a
// turn, all types alike: with those of half size, its four floats of the slope are 16 bytes. What bounds it is
// arithmetic, not memory (docs/cuda-report.md): 16 logarithms, exponentials and reciprocals an element for ssl with
// three classes.
#include "common/checks.h"
#include "common/elementwise_device.h"
#include "common/philox.h"
#include "sga_sample/sga_sample_cuda.h"
#include "sga_sample/sga_sample_math.h"

namespace pylatent {
namespace {

using Parameters = sga::Parameters<DeviceMath>;

constexpr int N = 4;           // elements a thread and turn
constexpr int kThreads = 128;  // a latent of 192 x 32 x 48 makes 576 blocks, which spread better than half as many

struct Constants {
  float tau, a, r, rest, n;
};

// Philox block b has the words of elements 4 b ... 4 b + 3 for two classes, of 2 b and 2 b + 1 for three. `first` is a
// multiple of 4.
template <int CLASSES>
__device__ void draw(Global<const int64_t> key, int64_t first, float (&up)[N], float (&down)[N]) {
  constexpr int PER_BLOCK = CLASSES == 2 ? 4 : 2;
  const uint64_t low = static_cast<uint64_t>(int64_t{key[0]}), counter = static_cast<uint64_t>(int64_t{key[1]});
  for (int i = 0; i < N; i += PER_BLOCK) {
    const Vec<uint32_t, 4> words = philox4x32(static_cast<uint64_t>((first + i) / PER_BLOCK), counter,
                                              static_cast<uint32_t>(low), static_cast<uint32_t>(low >> 32));
    for (int j = 0; j < PER_BLOCK; ++j) {
      if constexpr (CLASSES == 2) {
        up[i + j] = sga::noise_of_two<DeviceMath>(static_cast<int32_t>(words[j] >> 1));
      } else {
        sga::noise_of_three<DeviceMath>(static_cast<int32_t>(words[2 * j] >> 1),
                                        static_cast<int32_t>(words[2 * j + 1] >> 1), up[i + j], down[i + j]);
      }
    }
  }
}

template <int CLASSES>
__device__ void read(Global<const float> noise, int64_t first, int64_t count, bool vectors, float (&up)[N],
                     float (&down)[N]) {
  float lowest[N], next[N];
  load_floats(lowest, noise, first, count, vectors);
  load_floats(next, noise + count, first, count, vectors);
  if constexpr (CLASSES == 3) load_floats(up, noise + 2 * count, first, count, vectors);
  for (int i = 0; i < N; ++i) {
    up[i] = sga::kLog2e * (CLASSES == 2 ? next[i] - lowest[i] : up[i] - next[i]);
    down[i] = sga::kLog2e * (lowest[i] - next[i]);
  }
}

template <class T, sga::Method METHOD, int CLASSES, bool SLOPE>
__global__ void __launch_bounds__(kThreads)
    sample_kernel(Global<const T> v, Global<const float> tau, Global<const float> noise, Global<const int64_t> key,
                  Global<T> value, Global<float> slope, int64_t count, bool vectors, Constants constants) {
  const float temperature = tau ? float{tau[0]} : constants.tau;
  const Parameters p(temperature, constants.a, constants.r, constants.rest, constants.n);
  const int64_t stride = int64_t{N} * gridDim.x * kThreads;
  for (int64_t i = N * (int64_t{blockIdx.x} * kThreads + threadIdx.x); i < count; i += stride) {
    float x[N], up[N], down[N], slopes[N];
    load_floats(x, v, i, count, vectors);
    if (key) {
      draw<CLASSES>(key, i, up, down);
    } else {
      read<CLASSES>(noise, i, count, vectors, up, down);
    }
    for (int j = 0; j < N; ++j) {
      sga::Sample<DeviceMath> sample;
      if constexpr (CLASSES == 2) {
        sample = sga::two_classes<DeviceMath, METHOD>(x[j], up[j], p);
      } else {
        const float k = DeviceMath::round(x[j]);
        sample =
            sga::three_classes<DeviceMath>(x[j], k, sga::logits_at<DeviceMath, METHOD>(x[j], k, p), up[j], down[j], p);
      }
      x[j] = sample.value;
      slopes[j] = sample.slope;
    }
    store_floats(value, i, count, x, vectors);
    if constexpr (SLOPE) store_floats(slope, i, count, slopes, vectors);
  }
}

template <class Fn>
void with_method(int method, int classes, Fn&& fn) {
  const auto with_classes = [&](auto chosen) {
    if (classes == 2) {
      fn(chosen, std::integral_constant<int, 2>{});
    } else {
      fn(chosen, std::integral_constant<int, 3>{});
    }
  };
  switch (static_cast<sga::Method>(method)) {
    case sga::Method::atanh:
      return with_classes(std::integral_constant<sga::Method, sga::Method::atanh>{});
    case sga::Method::linear:
      return with_classes(std::integral_constant<sga::Method, sga::Method::linear>{});
    case sga::Method::cosine:
      return with_classes(std::integral_constant<sga::Method, sga::Method::cosine>{});
    case sga::Method::ssl:
      return with_classes(std::integral_constant<sga::Method, sga::Method::ssl>{});
  }
}

}  // namespace

void sga_sample_cuda_forward(uintptr_t v, uintptr_t tau, uintptr_t noise, uintptr_t key, uintptr_t value,
                             uintptr_t slope, int64_t count, int method, int classes, float tau_value, float a,
                             double r, float n, int dtype, int device, uintptr_t stream) {
  check_range("method", method, 0, 3);
  check_range("classes", classes, 2, 3);
  if (count == 0) return;
  const DeviceGuard guard(device);
  const Constants constants{tau_value, a, static_cast<float>(r), static_cast<float>(1 - r), n};
  // The classes of the noise follow one another, so each begins aligned only if `count` is a multiple of 4.
  const bool all_aligned = aligned({v, noise, value, slope}) && (noise == 0 || count % 4 == 0);
  const int64_t turns = (count + N * kThreads - 1) / (N * kThreads), most = int64_t{16} * multiprocessor_count(device);
  const dim3 grid(static_cast<unsigned>(std::min(turns, most)));
  with_elements("sga_sample", to_dtype(dtype), slope != 0, [&](auto type, auto with_slope) {
    using T = typename decltype(type)::type;
    with_method(method, classes, [&](auto chosen, auto number) {
      launch("sga_sample", sample_kernel<T, chosen(), number(), with_slope()>, grid, dim3(kThreads), 0, stream,
             global<const T>(v, count), global<const float>(tau, tau == 0 ? 0 : 1),
             global<const float>(noise, noise == 0 ? 0 : classes * count), global<const int64_t>(key, key == 0 ? 0 : 2),
             global<T>(value, count), global<float>(slope, slope == 0 ? 0 : count), count, all_aligned, constants);
    });
  });
}

}  // namespace pylatent
