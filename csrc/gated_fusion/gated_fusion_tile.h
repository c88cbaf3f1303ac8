// Tiles of the products of the gated fusion: from global to shared memory, and through the tensor cores.
//
// A block computes M channels by N pixels of weight (C, K) times x, where x is (K, pixels) of each picture, or
// (pixels, K) channels-last; a stage holds 64 bytes of K. In shared memory, the 16-byte chunks of a row are permuted
// such that those which one instruction reads or writes lie in different banks.
#pragma once

#include "common/device.h"

namespace pylatent::gated_fusion {

// How products are computed: 16-bit elements directly, float rounded to TF32, or float as the sum of two TF32 numbers,
// without the product of the two smaller ones (relative error 2^-21 instead of 2^-11).
enum class Products { half, tf32, tf32x3 };

template <int M_, int N_, int WARP_M_, int WARP_N_, int STAGES_, int BLOCKS_>
struct Tile {
  static constexpr int M = M_, N = N_, WARP_M = WARP_M_, WARP_N = WARP_N_;
  static constexpr int stages = STAGES_;
  static constexpr int blocks = BLOCKS_;  // that should fit on a multiprocessor
  static constexpr int warps_m = M / WARP_M;
  static constexpr int threads = 32 * warps_m * (N / WARP_N);
  static constexpr int mma_m = WARP_M / 16, mma_n = WARP_N / 8;
};

template <class T>
constexpr int depth = 64 / sizeof(T);  // of a stage, in elements of K

// Where an element of a (rows, depth) tile lies. ldmatrix reads a chunk of each of 8 rows; with floats, half a warp
// reads two chunks of each of 4 rows.
template <class T>
__device__ inline int place_in_rows(int row, int k) {
  constexpr int chunk = 16 / sizeof(T);
  const int permutation = sizeof(T) == 2 ? row >> 1 & 3 : row & 2;
  return row * depth<T> + (k / chunk ^ permutation) * chunk + k % chunk;
}

// Where an element of a (depth, N) tile lies. ldmatrix reads a chunk of each of 8 rows; with floats, a warp reads two
// chunks of every other row of 8.
template <class T, int N>
__device__ inline int place_in_columns(int k, int pixel) {
  constexpr int chunk = 16 / sizeof(T);
  const int permutation = sizeof(T) == 4 ? k & 6 : N == 32 ? k >> 1 & 3 : k & 7;
  const int in_line = pixel & (8 * chunk - 1);  // chunks stay in their line of 128 bytes
  return k * N + pixel - in_line + (in_line / chunk ^ permutation) * chunk + pixel % chunk;
}

// E elements from global to shared memory, or zeros; asynchronous unless it is a single 16-bit element.
template <int E, class T>
__device__ inline void copy(Shared<T> to, Global<const T> from, bool valid) {
  if constexpr (E * sizeof(T) >= 4) {
    cp_async<E * sizeof(T)>(to, from, valid);
  } else {
    T value = from_float<T>(0.0f);
    if (valid) value = from[0];
    to[0] = value;
  }
}

// `depth` columns from k0 of ROWS rows from row0 of a (rows, k) array, E elements at a time; zeros beyond its ends.
template <int E, int ROWS, int THREADS, class T>
__device__ inline void load_rows(Shared<T> to, Global<const T> from, int64_t row0, int64_t rows, int k0, int k) {
  constexpr int per_row = depth<T> / E, count = ROWS * per_row / THREADS;
  static_assert(ROWS * per_row % THREADS == 0, "every thread copies as much");
#pragma unroll(E > 1 ? count : 1)
  for (int i = 0; i < count; ++i) {
    const int at = int(threadIdx.x) + i * THREADS;
    const int row = at / per_row, column = at % per_row * E;
    const bool valid = row0 + row < rows && k0 + column < k;
    copy<E>(to + place_in_rows<T>(row, column), from + (valid ? (row0 + row) * k + k0 + column : 0), valid);
  }
}

// The pixels that a thread copies when it copies E at a time.
struct Column {
  int64_t picture;
  int pixel;
  bool valid;
};

template <int N>
__device__ inline Column column(int64_t pixel0, int64_t pixels, int per_picture, int elements) {
  const int64_t pixel = pixel0 + int(threadIdx.x) % (N / elements) * elements;
  const int64_t picture = pixel / per_picture;
  return {picture, int(pixel - picture * per_picture), pixel < pixels};
}

// `depth` rows from k0 of N pixels of (k, pixels) pictures.
template <int E, int N, int THREADS, class T>
__device__ inline void load_columns(Shared<T> to, Global<const T> from, const Column& column, int pixels, int k0,
                                    int k) {
  constexpr int per_row = N / E, step = THREADS / per_row, count = depth<T> / step;
  static_assert(THREADS % per_row == 0 && depth<T> % step == 0, "a thread copies the same pixels of several rows");
  const int row0 = int(threadIdx.x) / per_row, at = int(threadIdx.x) % per_row * E;
#pragma unroll(E > 1 ? count : 1)
  for (int i = 0; i < count; ++i) {
    const int row = row0 + i * step;
    const bool valid = column.valid && k0 + row < k;
    const int64_t source = valid ? (column.picture * k + k0 + row) * pixels + column.pixel : 0;
    copy<E>(to + place_in_columns<T, N>(row, at), from + source, valid);
  }
}

// sums += weight x for one stage and the warp's channels from row0 and pixels from pixel0.
template <class Tile, bool CHANNELS_LAST, class T>
__device__ inline void multiply_half(float (&sums)[Tile::mma_m][Tile::mma_n][4], Shared<const T> weight,
                                     Shared<const T> x, int row0, int pixel0) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < depth<T>; k += 16) {
    uint32_t a[Tile::mma_m][4];
#pragma unroll
    for (int i = 0; i < Tile::mma_m; ++i) {
      ldmatrix_x4(a[i], weight + place_in_rows<T>(row0 + i * 16 + lane % 16, k + lane / 16 * 8));
    }
#pragma unroll
    for (int j = 0; j < Tile::mma_n; j += 2) {
      uint32_t b[4];
      if constexpr (CHANNELS_LAST) {
        ldmatrix_x4(b, x + place_in_rows<T>(pixel0 + j * 8 + lane % 8 + lane / 16 * 8, k + lane / 8 % 2 * 8));
      } else {
        ldmatrix_x4_trans(b, x + place_in_columns<T, Tile::N>(k + lane % 16, pixel0 + j * 8 + lane / 16 * 8));
      }
      const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
#pragma unroll
      for (int i = 0; i < Tile::mma_m; ++i) {
        mma_m16n8k16<T>(sums[i][j], a[i], left);
        mma_m16n8k16<T>(sums[i][j + 1], a[i], right);
      }
    }
  }
}

// N floats as TF32, or as sums of two TF32 numbers.
template <Products PRODUCTS, int N>
struct Fragment {
  uint32_t large[N], small[PRODUCTS == Products::tf32x3 ? N : 1];

  __device__ void set(int i, float x) {
    large[i] = to_tf32(x);
    if constexpr (PRODUCTS == Products::tf32x3) small[i] = to_tf32(x - __uint_as_float(large[i]));
  }
};

// The same with floats. In the fragments of the tensor cores, lane 4 g + t holds columns t and t + 4 of K; since only
// the pairing of the factors matters, these are taken to be columns 2 t and 2 t + 1 of shared memory.
template <Products PRODUCTS, class Tile, bool CHANNELS_LAST>
__device__ inline void multiply_float(float (&sums)[Tile::mma_m][Tile::mma_n][4], Shared<const float> weight,
                                      Shared<const float> x, int row0, int pixel0) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll 1
  for (int k = 0; k < depth<float>; k += 8) {
    Fragment<PRODUCTS, 4> a[Tile::mma_m];
#pragma unroll
    for (int i = 0; i < Tile::mma_m; ++i) {
      const Vec<float, 2> upper = load_vec<2>(weight + place_in_rows<float>(row0 + i * 16 + g, k + 2 * t));
      const Vec<float, 2> lower = load_vec<2>(weight + place_in_rows<float>(row0 + i * 16 + g + 8, k + 2 * t));
      a[i].set(0, upper[0]);
      a[i].set(1, lower[0]);
      a[i].set(2, upper[1]);
      a[i].set(3, lower[1]);
    }
#pragma unroll
    for (int j = 0; j < Tile::mma_n; ++j) {
      Fragment<PRODUCTS, 2> b;
      if constexpr (CHANNELS_LAST) {
        const Vec<float, 2> both = load_vec<2>(x + place_in_rows<float>(pixel0 + j * 8 + g, k + 2 * t));
        b.set(0, both[0]);
        b.set(1, both[1]);
      } else {
        b.set(0, x[place_in_columns<float, Tile::N>(k + 2 * t, pixel0 + j * 8 + g)]);
        b.set(1, x[place_in_columns<float, Tile::N>(k + 2 * t + 1, pixel0 + j * 8 + g)]);
      }
#pragma unroll
      for (int i = 0; i < Tile::mma_m; ++i) {
        if constexpr (PRODUCTS == Products::tf32x3) {
          mma_m16n8k8_tf32(sums[i][j], a[i].small, b.large);
          mma_m16n8k8_tf32(sums[i][j], a[i].large, b.small);
        }
        mma_m16n8k8_tf32(sums[i][j], a[i].large, b.large);
      }
    }
  }
}

}  // namespace pylatent::gated_fusion
