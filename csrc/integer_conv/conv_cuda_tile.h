// A block's tile of an integer convolution: activations and weights in shared memory, products of their bytes on tensor
// cores.
//
// a = sum of a_i 256^i, w = w_0 + 256 w_1, all digits unsigned bytes but the highest, so that a w is a sum of products
// of bytes; sums of equal i + j are kept apart, and put together when all inputs have been seen.
#pragma once

#include "common/device.h"
#include "integer_conv/conv_cuda.h"

namespace pylatent::integers {

constexpr int kDepth = 32;       // inputs that a product takes at once: a group
constexpr int kChunk = 8;        // outputs of a lane that follow each other, and of a product
constexpr int kUnitWords = 128;  // of the weights of kChunk outputs and a group: 4 for a lane

template <int DIGITS>
struct Numbers;
template <>
struct Numbers<2> {
  using Activation = int16_t;
  using Sum = int32_t;
};
template <>
struct Numbers<3> {
  using Activation = int32_t;
  using Sum = int64_t;
};
template <int DIGITS>
using Activation = typename Numbers<DIGITS>::Activation;
template <int DIGITS>
using Sum = typename Numbers<DIGITS>::Sum;

// ROWS x COLUMNS pixels by N outputs. A warp has WARP_M pixels by WARP_N outputs, and one in K of the groups. STAGES:
// of weights that are loaded ahead, one tap of the inputs at hand each. BLOCKS: at once on a multiprocessor.
template <int ROWS, int COLUMNS, int N_, int WARP_M, int WARP_N, int K_, int STAGES, int BLOCKS>
struct Tile {
  static constexpr int rows = ROWS, columns = COLUMNS, M = ROWS * COLUMNS, N = N_, K = K_;
  static constexpr int warps_m = M / WARP_M, warps_n = N / WARP_N, threads = 32 * warps_m * warps_n * K;
  static constexpr int warp_m = WARP_M, warp_n = WARP_N, mma_m = WARP_M / 16, mma_n = WARP_N / kChunk;
  static constexpr int stages = STAGES, blocks = BLOCKS;
  static constexpr int stage_words = K * N / kChunk * kUnitWords;
  static constexpr int pitch = N + 8;  // of sums in shared memory: rows that a warp writes at once begin in other banks
  static_assert(COLUMNS % 8 == 0, "eight pixels of a matrix lie beside each other");
};
// As many outputs as there are registers for: the sums of more than 24 by 32 pixels of 3 digits would be spilled.
template <int DIGITS>
using Large = std::conditional_t<DIGITS == 2, Tile<8, 16, 64, 32, 32, 1, 4, 1>, Tile<8, 16, 48, 32, 24, 1, 4, 1>>;
using Small =
    Tile<2, 8, 32, 16, 16, 2, 8, 4>;  // for few pixels: many blocks, and most of their loads under way at once

// A pixel's group of inputs in shared memory, in pieces of 16 bytes, exchanged so that those which eight neighbouring
// pixels have at one place lie in different banks.
template <int DIGITS>
struct Group {
  static constexpr int elements = 16 / sizeof(Activation<DIGITS>), pieces = kDepth / elements;

  __device__ static int place(int pixel, int piece) {
    const int key = pieces == 4 ? pixel >> 1 & 3 : pixel & 7;
    return pixel * pieces + (piece ^ key);
  }
};

// Digits of the activations of 16 pixels by a group of inputs, as products take them: of the lanes' registers, halves
// of the group and of the pixels. pixel: this lane's pixel of each half for 3 digits, of all 16 for 2.
template <int DIGITS>
__device__ inline void load_digits(uint32_t (&digits)[DIGITS][4], Shared<const uint16_t> group,
                                   const int (&pixel)[DIGITS - 1]) {
  const int lane = threadIdx.x % 32;
  const auto piece = [&](int i, int number) { return group + 8 * Group<DIGITS>::place(pixel[i], number); };
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    uint32_t r[4];
    if constexpr (DIGITS == 2) {
      ldmatrix_x4(r, piece(0, 2 * half + lane / 16));
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        digits[0][2 * half + i] = __byte_perm(r[i], r[i + 2], 0x6420);
        digits[1][2 * half + i] = __byte_perm(r[i], r[i + 2], 0x7531);
      }
    } else {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        ldmatrix_x4(r, piece(i, 4 * half + lane / 8));
        const uint32_t first = __byte_perm(r[0], r[1], 0x5140), second = __byte_perm(r[2], r[3], 0x5140);
        digits[0][2 * half + i] = __byte_perm(first, second, 0x5410);
        digits[1][2 * half + i] = __byte_perm(first, second, 0x7632);
        digits[2][2 * half + i] = __byte_perm(__byte_perm(r[0], r[1], 0x0062), __byte_perm(r[2], r[3], 0x0062), 0x5410);
      }
    }
  }
}

// sums[i + j] += digit i of the activations times digit j of the weights, modulo 2^32.
template <int DIGITS>
__device__ inline void multiply_digits(int32_t (&sums)[DIGITS + 1][4], const uint32_t (&a)[DIGITS][4],
                                       const Vec<uint32_t, 4>& w) {
  const uint32_t low[2] = {w[0], w[1]}, high[2] = {w[2], w[3]};
#pragma unroll
  for (int i = 0; i < DIGITS - 1; ++i) {
    mma_m16n8k32<uint8_t, uint8_t>(sums[i], a[i], low);
    mma_m16n8k32<uint8_t, int8_t>(sums[i + 1], a[i], high);
  }
  mma_m16n8k32<int8_t, uint8_t>(sums[DIGITS - 1], a[DIGITS - 1], low);
  mma_m16n8k32<int8_t, int8_t>(sums[DIGITS], a[DIGITS - 1], high);
}

// What the sums of the digits stand for; modulo 2^32 for 2 digits.
template <int DIGITS>
__device__ inline Sum<DIGITS> put_together(const int32_t (&sums)[DIGITS + 1][4], int element) {
  using Bits = std::make_unsigned_t<Sum<DIGITS>>;
  Bits total = 0;
#pragma unroll
  for (int i = 0; i <= DIGITS; ++i) total += static_cast<Bits>(Sum<DIGITS>{sums[i][element]}) << 8 * i;
  return static_cast<Sum<DIGITS>>(total);
}

}  // namespace pylatent::integers
