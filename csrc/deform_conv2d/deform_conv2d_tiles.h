// What the kernels of the deformable convolution have in common: 8 warps multiply tiles in shared memory on tensor
// cores. A step multiplies 64 bytes of depth (32 half or 16 float elements).
#pragma once

#include <type_traits>

#include "common/device.h"

namespace pylatent::deform_conv2d {

constexpr int THREADS = 256;
constexpr int STEP_BYTES = 64;

// Element type and, for float, the number of TF32 numbers that stand for one.
template <class T_, int PARTS_ = 1>
struct Mode {
  using T = T_;
  static constexpr int PARTS = PARTS_;
  static constexpr int VEC = 16 / sizeof(T);
  static constexpr int DEPTH = STEP_BYTES / sizeof(T);
  static_assert(PARTS == 1 || std::is_same_v<T, float>, "half types are multiplied as they are");
};

// Shared memory without bank conflicts: rows along the depth are 64 + 16 bytes apart, rows across it 8 elements more
// than they have.
template <class M>
constexpr int ALONG_STRIDE = M::DEPTH + M::VEC;
constexpr int across_stride(int columns) { return columns + 8; }

// Rows of 64 bytes for vectors number 0, 1, 2 ... to be written by consecutive threads: neighbours write rows r and r +
// 4, which lie in different halves of the banks.
__device__ __forceinline__ int row_of(int vector) {
  const int row = vector / 4;
  return row / 8 * 8 + row % 2 * 4 + row / 2 % 4;
}

// Where a warp's part of the tile lies: 2 warps along the rows, 4 along the columns.
struct Place {
  int row, column, lane;
};

template <int MT, int NT>
__device__ __forceinline__ Place warp_place() {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  return {warp % 2 * 16 * MT, warp / 2 * 8 * NT, lane};
}

// Operand A is stored along the depth (row r at a + r * stride) or across it (depth k at a + k * stride), and so is B.
enum class Stored { along, across };

// acc[i][j] += rows place.row + 16 i .. + 15 of A times columns place.column + 8 j .. + 7 of B, over one step of depth.
// A thread holds rows lane / 4 and lane / 4 + 8, columns 2 (lane % 4) and the next, of each 16 x 8 block.
template <class M, Stored A, Stored B, int MT, int NT, std::enable_if_t<sizeof(typename M::T) == 2, int> = 0>
__device__ __forceinline__ void multiply(float (&acc)[MT][NT][4], Shared<typename M::T> a, int a_stride,
                                         Shared<typename M::T> b, int b_stride, Place place) {
  const int lane = place.lane;
  const int low = lane % 8, middle = lane / 8 % 2 * 8, high = lane / 16 * 8;
#pragma unroll
  for (int k = 0; k < M::DEPTH; k += 16) {
    uint32_t fa[MT][4];
#pragma unroll
    for (int i = 0; i < MT; ++i) {
      const int row = place.row + 16 * i;
      if constexpr (A == Stored::along) {
        ldmatrix_x4(fa[i], a + (row + low + middle) * a_stride + k + high);
      } else {
        ldmatrix_x4_trans(fa[i], a + (k + low + high) * a_stride + row + middle);
      }
    }
#pragma unroll
    for (int j = 0; j < NT; j += 2) {
      const int column = place.column + 8 * j;
      uint32_t fb[4];
      if constexpr (B == Stored::along) {
        ldmatrix_x4(fb, b + (column + low + high) * b_stride + k + middle);
      } else {
        ldmatrix_x4_trans(fb, b + (k + low + middle) * b_stride + column + high);
      }
      const uint32_t left[2] = {fb[0], fb[1]}, right[2] = {fb[2], fb[3]};
#pragma unroll
      for (int i = 0; i < MT; ++i) {
        mma_m16n8k16<typename M::T>(acc[i][j], fa[i], left);
        mma_m16n8k16<typename M::T>(acc[i][j + 1], fa[i], right);
      }
    }
  }
}

// A float as the sum of PARTS numbers in TF32.
template <int PARTS>
__device__ __forceinline__ void split(float x, uint32_t& first, uint32_t& second) {
  first = to_tf32(x);
  second = PARTS == 2 ? to_tf32(x - bit_cast<float>(first)) : 0;
}

template <class M, Stored A, Stored B, int MT, int NT, std::enable_if_t<sizeof(typename M::T) == 4, int> = 0>
__device__ __forceinline__ void multiply(float (&acc)[MT][NT][4], Shared<float> a, int a_stride, Shared<float> b,
                                         int b_stride, Place place) {
  const int group = place.lane / 4, member = place.lane % 4;
  const auto at = [](Stored stored, int stride, int index, int depth) {
    return stored == Stored::along ? index * stride + depth : depth * stride + index;
  };
#pragma unroll
  for (int k = 0; k < M::DEPTH; k += 8) {
    uint32_t fa[MT][4], fa_rest[MT][4];
#pragma unroll
    for (int i = 0; i < MT; ++i) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int row = place.row + 16 * i + group + r % 2 * 8;
        split<M::PARTS>(a[at(A, a_stride, row, k + member + r / 2 * 4)], fa[i][r], fa_rest[i][r]);
      }
    }
#pragma unroll
    for (int j = 0; j < NT; ++j) {
      uint32_t fb[2], fb_rest[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        split<M::PARTS>(b[at(B, b_stride, place.column + 8 * j + group, k + member + r * 4)], fb[r], fb_rest[r]);
      }
#pragma unroll
      for (int i = 0; i < MT; ++i) {
        if constexpr (M::PARTS == 2) {
          mma_m16n8k8_tf32(acc[i][j], fa_rest[i], fb);
          mma_m16n8k8_tf32(acc[i][j], fa[i], fb_rest);
        }
        mma_m16n8k8_tf32(acc[i][j], fa[i], fb);
      }
    }
  }
}

// Copies rows of `columns` elements, columns a multiple of M::VEC, into shared memory, all threads together; where
// source(row, column) is not valid, zeros. It returns the pointer to copy from and whether it is valid.
template <class M, int ROWS, int COLUMNS, class Source>
__device__ __forceinline__ void fetch(Shared<typename M::T> tile, int stride, Source source) {
  constexpr int VECS = COLUMNS / M::VEC;
#pragma unroll
  for (int i = threadIdx.x; i < ROWS * VECS; i += THREADS) {
    const int row = VECS == 4 ? row_of(i) : i / VECS, column = i % VECS * M::VEC;
    const auto from = source(row, column);
    cp_async<16>(tile + row * stride + column, from.pointer, from.valid);
  }
}

template <class T>
struct Source {
  Global<const T> pointer;
  bool valid;
};

}  // namespace pylatent::deform_conv2d
