// Both products and the gate in one kernel, on tensor cores, nothing but the results in global memory.
// Moves each input once per tile of channels and each weight once per tile of pixels, all but the first time from the
// L2 cache: larger tiles would need more registers. Tiles are chosen by counting, not yet by timing.
#include <cstdint>
#include <initializer_list>

#include "gated_fusion/gated_fusion_cuda.h"
#include "gated_fusion/gated_fusion_math.h"
#include "gated_fusion/gated_fusion_tile.h"

namespace pylatent::gated_fusion {
namespace {

using Large = Tile<128, 128, 64, 32, 4, 1>;
using Wide = Tile<64, 128, 32, 64, 4, 2>;
using Middle = Tile<64, 64, 32, 32, 4, 3>;
using Small = Tile<32, 32, 16, 16, 6, 6>;  // for few pixels: many blocks, and most of their loads under way at once

// What is multiplied: weight (C, K) and x.
template <class T>
struct Factors {
  Global<const T> weight, x;
  int k;
};

template <class T>
struct Arguments {
  Factors<T> y, s;
  Global<const T> bias_y, bias_s;
  Global<T> out, gate;
  int channels, pixels;  // per picture
  int64_t all_pixels;
  int channel_tiles;
  int weight_vector, x_vector, out_vector;  // bytes that may be moved at a time
};

template <class T, class Tile, bool CHANNELS_LAST>
struct Memory {
  static constexpr int weight_elements = Tile::M * depth<T>;
  static constexpr int stage_elements = weight_elements + Tile::N * depth<T>;
  // The results pass through shared memory too, to be written in whole rows.
  static constexpr int rows = CHANNELS_LAST ? Tile::N : Tile::M, columns = CHANNELS_LAST ? Tile::M : Tile::N;
  static constexpr int out_stride = columns + (CHANNELS_LAST ? 16 / sizeof(T) : 8);  // without bank conflicts
  static constexpr int elements =
      Tile::stages * stage_elements > rows* out_stride ? Tile::stages * stage_elements : rows * out_stride;
};

// The tile in shared memory, [channel][pixel] or [pixel][channel], to global memory, E elements at a time.
template <int E, class Tile, bool CHANNELS_LAST, class T>
__device__ inline void store_tile(Global<T> out, Shared<const T> tile, const Arguments<T>& a, int channel0,
                                  int64_t pixel0) {
  using Layout = Memory<T, Tile, CHANNELS_LAST>;
  constexpr int per_row = Layout::columns / E, step = Tile::threads / per_row;
  static_assert(Tile::threads % per_row == 0, "a thread writes the same columns of several rows");
  const Column place = column<Tile::N>(pixel0, a.all_pixels, a.pixels, E);
  const int at = int(threadIdx.x) % per_row * E;
  for (int row = int(threadIdx.x) / per_row; row < Layout::rows; row += step) {
    const Vec<T, E> values = load_vec<E>(tile + (row * Layout::out_stride + at));
    if constexpr (CHANNELS_LAST) {
      const int64_t pixel = pixel0 + row;
      if (pixel < a.all_pixels && channel0 + at < a.channels) {
        store_vec(out + (pixel * a.channels + channel0 + at), values);
      }
    } else {
      const int channel = channel0 + row;
      if (place.valid && channel < a.channels) {
        store_vec(out + ((place.picture * a.channels + channel) * a.pixels + place.pixel), values);
      }
    }
  }
}

template <class Tile, bool CHANNELS_LAST, class T>
__device__ inline void store_results(Global<T> out, const float (&results)[Tile::mma_m][Tile::mma_n][4],
                                     const Arguments<T>& a, int channel0, int64_t pixel0) {
  using Layout = Memory<T, Tile, CHANNELS_LAST>;
  const Shared<T> tile = dynamic_shared<T>(0);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int channel = warp % Tile::warps_m * Tile::WARP_M + lane / 4;
  const int pixel = warp / Tile::warps_m * Tile::WARP_N + lane % 4 * 2;
  __syncthreads();  // the shared memory is free
#pragma unroll
  for (int i = 0; i < Tile::mma_m; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::mma_n; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const T left = from_float<T>(results[i][j][2 * half]), right = from_float<T>(results[i][j][2 * half + 1]);
        const int row = channel + i * 16 + half * 8, column = pixel + j * 8;
        if constexpr (CHANNELS_LAST) {
          tile[column * Layout::out_stride + row] = left;
          tile[(column + 1) * Layout::out_stride + row] = right;
        } else {
          store_vec(tile + (row * Layout::out_stride + column), Vec<T, 2>{{left, right}});
        }
      }
    }
  }
  __syncthreads();
  if (a.out_vector == 16) {
    store_tile<16 / sizeof(T), Tile, CHANNELS_LAST, T>(out, tile, a, channel0, pixel0);
  } else if (a.out_vector == 8) {
    store_tile<8 / sizeof(T), Tile, CHANNELS_LAST, T>(out, tile, a, channel0, pixel0);
  } else {
    store_tile<1, Tile, CHANNELS_LAST, T>(out, tile, a, channel0, pixel0);
  }
}

template <class T, Products PRODUCTS, class Tile, bool CHANNELS_LAST>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks) forward_kernel(Arguments<T> a) {
  using Layout = Memory<T, Tile, CHANNELS_LAST>;
  const int channel0 = int(blockIdx.x % a.channel_tiles) * Tile::M;
  const int64_t pixel0 = int64_t{blockIdx.x / a.channel_tiles} * Tile::N;
  const Shared<T> memory = dynamic_shared<T>(0);
  const Column place = column<Tile::N>(pixel0, a.all_pixels, a.pixels, a.x_vector / int(sizeof(T)));

  // All stages of y, then all stages of s, one of zeros if it has no channels.
  const int steps_y = (a.y.k + depth<T> - 1) / depth<T>;
  const int steps = steps_y + max(1, (a.s.k + depth<T> - 1) / depth<T>);
  const auto load = [&](int step) {
    const bool second = step >= steps_y;
    const Global<const T> weight = second ? a.s.weight : a.y.weight, x = second ? a.s.x : a.y.x;
    const int k = second ? a.s.k : a.y.k, k0 = (second ? step - steps_y : step) * depth<T>;
    const Shared<T> to = memory + step % Tile::stages * Layout::stage_elements;
    if (a.weight_vector == 16) {
      load_rows<16 / sizeof(T), Tile::M, Tile::threads>(to, weight, channel0, a.channels, k0, k);
    } else {
      load_rows<1, Tile::M, Tile::threads>(to, weight, channel0, a.channels, k0, k);
    }
    const Shared<T> to_x = to + Layout::weight_elements;
    if constexpr (CHANNELS_LAST) {
      if (a.x_vector == 16) {
        load_rows<16 / sizeof(T), Tile::N, Tile::threads>(to_x, x, pixel0, a.all_pixels, k0, k);
      } else {
        load_rows<1, Tile::N, Tile::threads>(to_x, x, pixel0, a.all_pixels, k0, k);
      }
    } else if (a.x_vector == 16) {
      load_columns<16 / sizeof(T), Tile::N, Tile::threads>(to_x, x, place, a.pixels, k0, k);
    } else if (a.x_vector == 8) {
      load_columns<8 / sizeof(T), Tile::N, Tile::threads>(to_x, x, place, a.pixels, k0, k);
    } else {
      load_columns<1, Tile::N, Tile::threads>(to_x, x, place, a.pixels, k0, k);
    }
  };

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warp_row = warp % Tile::warps_m * Tile::WARP_M, warp_pixel = warp / Tile::warps_m * Tile::WARP_N;
  float u[Tile::mma_m][Tile::mma_n][4] = {}, v[Tile::mma_m][Tile::mma_n][4] = {};
#pragma unroll
  for (int step = 0; step < Tile::stages - 1; ++step) {
    if (step < steps) load(step);
    cp_async_commit();
  }
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<Tile::stages - 2>();
    __syncthreads();  // this stage has arrived, and the one before has been read by all
    if (step + Tile::stages - 1 < steps) load(step + Tile::stages - 1);
    cp_async_commit();
    if (step == steps_y) {
#pragma unroll
      for (int i = 0; i < Tile::mma_m; ++i) {
#pragma unroll
        for (int j = 0; j < Tile::mma_n; ++j) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            u[i][j][e] = v[i][j][e];
            v[i][j][e] = 0;
          }
        }
      }
    }
    const Shared<const T> stage = memory + step % Tile::stages * Layout::stage_elements;
    const Shared<const T> x = stage + Layout::weight_elements;
    if constexpr (PRODUCTS == Products::half) {
      multiply_half<Tile, CHANNELS_LAST, T>(v, stage, x, warp_row, warp_pixel);
    } else {
      multiply_float<PRODUCTS, Tile, CHANNELS_LAST>(v, stage, x, warp_row, warp_pixel);
    }
  }
  cp_async_wait<0>();

#pragma unroll
  for (int i = 0; i < Tile::mma_m; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int channel = channel0 + warp_row + i * 16 + half * 8 + lane / 4;
      const float bias_u = a.bias_y && channel < a.channels ? to_float(a.bias_y[channel]) : 0.0f;
      const float bias_v = a.bias_s && channel < a.channels ? to_float(a.bias_s[channel]) : 0.0f;
#pragma unroll
      for (int j = 0; j < Tile::mma_n; ++j) {
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          v[i][j][e] += bias_v;
          u[i][j][e] = (u[i][j][e] + bias_u) * gates<PRODUCTS == Products::tf32x3>(v[i][j][e]).open;
        }
      }
    }
  }
  store_results<Tile, CHANNELS_LAST>(a.out, u, a, channel0, pixel0);
  if (a.gate) store_results<Tile, CHANNELS_LAST>(a.gate, v, a, channel0, pixel0);
}

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How many bytes can be moved at a time: 16 or 8 if all addresses and the rows are multiples of it, else one element.
int vector_bytes(std::initializer_list<uintptr_t> addresses, std::initializer_list<int64_t> rows, int size) {
  for (const int bytes : {16, 8}) {
    bool aligned = true;
    for (const uintptr_t address : addresses) aligned = aligned && address % bytes == 0;
    for (const int64_t row : rows) aligned = aligned && row * size % bytes == 0;
    if (aligned) return bytes;
  }
  return size;
}

template <class T, Products PRODUCTS, class Tile, bool CHANNELS_LAST>
void run_tile(Arguments<T> a, uintptr_t stream) {
  a.channel_tiles = static_cast<int>(divide_up(a.channels, Tile::M));
  const int64_t blocks = a.channel_tiles * divide_up(a.all_pixels, Tile::N);
  const size_t bytes = Memory<T, Tile, CHANNELS_LAST>::elements * sizeof(T);
  launch("gated_fusion forward", forward_kernel<T, PRODUCTS, Tile, CHANNELS_LAST>, dim3(static_cast<unsigned>(blocks)),
         dim3(Tile::threads), bytes, stream, a);
}

template <class T, Products PRODUCTS, bool CHANNELS_LAST>
void run_layout(const Arguments<T>& a, const TileSize& size, uintptr_t stream) {
  if (size.channels == Large::M) return run_tile<T, PRODUCTS, Large, CHANNELS_LAST>(a, stream);
  if (size.channels == Small::M) return run_tile<T, PRODUCTS, Small, CHANNELS_LAST>(a, stream);
  if (size.pixels == Wide::N) return run_tile<T, PRODUCTS, Wide, CHANNELS_LAST>(a, stream);
  run_tile<T, PRODUCTS, Middle, CHANNELS_LAST>(a, stream);
}

template <class T, Products PRODUCTS>
void run(const CudaForward& job, int device, uintptr_t stream) {
  const int size = sizeof(T);
  const int64_t c = job.channels, pixels = job.batch * job.pixels;
  const bool last = job.channels_last;
  const auto factors = [&](uintptr_t weight, uintptr_t x, int64_t k) {
    return Factors<T>{global<const T>(weight, c * k), global<const T>(x, k * pixels), static_cast<int>(k)};
  };
  Arguments<T> a;
  a.y = factors(job.weight_y, job.y, job.channels_y);
  a.s = factors(job.weight_s, job.s, job.channels_s);
  a.bias_y = global<const T>(job.bias_y, job.bias_y == 0 ? 0 : c);
  a.bias_s = global<const T>(job.bias_s, job.bias_s == 0 ? 0 : c);
  a.out = global<T>(job.out, c * pixels);
  a.gate = global<T>(job.gate, job.gate == 0 ? 0 : c * pixels);
  a.channels = static_cast<int>(c);
  a.pixels = static_cast<int>(job.pixels);
  a.all_pixels = pixels;
  a.channel_tiles = 0;
  a.weight_vector = vector_bytes({job.weight_y, job.weight_s}, {job.channels_y, job.channels_s}, size);
  a.x_vector = last ? vector_bytes({job.y, job.s}, {job.channels_y, job.channels_s}, size)
                    : vector_bytes({job.y, job.s}, {job.pixels}, size);
  a.out_vector = vector_bytes({job.out, job.gate}, {last ? c : job.pixels}, size);
  const TileSize tile = cuda_tile(c, pixels, multiprocessor_count(device));
  if (last) {
    run_layout<T, PRODUCTS, true>(a, tile, stream);
  } else {
    run_layout<T, PRODUCTS, false>(a, tile, stream);
  }
}

}  // namespace

TileSize cuda_tile(int64_t channels, int64_t pixels, int multiprocessors) {
  TileSize best{};
  int64_t best_cost = INT64_MAX;
  for (const TileSize& size : {TileSize{Large::M, Large::N}, TileSize{Wide::M, Wide::N}, TileSize{Middle::M, Middle::N},
                               TileSize{Small::M, Small::N}}) {
    const int64_t blocks = divide_up(channels, size.channels) * divide_up(pixels, size.pixels);
    // Multiplying a tile, and loading its rows and columns: per channel and pixel as much as 32 products.
    const int64_t block_cost = size.channels * size.pixels + 32 * (size.channels + size.pixels);
    const int64_t cost = divide_up(blocks, multiprocessors) * block_cost;
    if (cost < best_cost) {
      best = size;
      best_cost = cost;
    }
  }
  return best;
}

void cuda_forward(const CudaForward& job, int device, uintptr_t stream) {
  if (job.batch == 0 || job.channels == 0 || job.pixels == 0) return;
  const DeviceGuard guard(device);
  switch (job.dtype) {
    case Dtype::bfloat16:
      return run<bf16, Products::half>(job, device, stream);
    case Dtype::float16:
      return run<f16, Products::half>(job, device, stream);
    case Dtype::float32:
      return job.tf32 ? run<float, Products::tf32>(job, device, stream)
                      : run<float, Products::tf32x3>(job, device, stream);
    default:
      unsupported_dtype("gated_fusion", job.dtype);
  }
}

}  // namespace pylatent::gated_fusion
