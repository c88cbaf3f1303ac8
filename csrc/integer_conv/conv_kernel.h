// The kernels of one SIMD level: what a layer does to some tiles.
//
// A 3x3 convolution of stride 1 is Winograd's F(2x2, 3x3) in integers: a tile of 2x2 outputs takes 4x4 inputs d. With
//   spread    V = B^T d B                         (16 numbers of 16 bits a channel: inputs have 14)
//   multiply  M = sum over channels of U V        (for each of the 16 positions; U is 4 G w G^T)
//   finish    4 S = A^T M A
// every step is exact modulo 2^32, and 4 S is below 2^31. Of any other convolution a tile is a pixel, and a product the
// sum over all taps. conv_large_tile.h has tiles of 4x4, which round.
#pragma once

#include <cstdint>

namespace pylatent::integers {

constexpr int kUnit = 16;            // output channels come in units
constexpr int kMostUnits = 4;        // of a block
constexpr int kRows = 6;             // of a product; with four units they fill 24 vectors of 16 sums
constexpr int kPositions = 16;       // of a tile of F(2x2, 3x3)
constexpr int kLargePositions = 36;  // of one of F(4x4, 3x3)
constexpr int kLargeSides = 6;       // rows, and columns, of what that reads
constexpr int kExponents = 7;        // of the scales of its outputs
constexpr int kPad = 32;             // activations have channels in multiples of this

// out[row][output] = the sum over taps and channels of rows[tap][row][channel] times a weight, modulo 2^32.
struct Product {
  const int16_t* const* rows;  // [tap][row]
  int64_t count;               // of rows, a multiple of kRows
  int64_t taps;
  int64_t channels;        // even
  const int16_t* weights;  // [tap][channel / 2][units * kUnit][channel % 2]
  int units;
  int32_t* out;  // [row][units * kUnit]
};

// V of `tiles` tiles: v[position][tile][channel]. rows: the 4 or 6 rows of inputs, from the first tile's first column
// on.
struct Spread {
  const int16_t* rows[kLargeSides];
  int64_t tiles, pitch;  // channels, a multiple of kPad
  int16_t* v;
  int64_t position;  // of v, in elements
};

// From the sums of a block to activations, of a row of tiles.
struct Finish {
  const int32_t* sums;     // [position][tile][units * kUnit]
  int64_t position;        // in elements
  int64_t tiles, columns;  // columns: pixels that there are, which may end within the last tile
  int rows;                // of the tiles that there are, from 1 on
  int units;
  const int32_t *bias, *multiplier, *negative;  // of the block
  int64_t exponent;                             // from those of an exponent of large tiles to those of the next
  int32_t low, high;
  const int16_t* skip;  // added: a pixel's activations, at the same place as `out` in its own rows; null for none
  int64_t skip_row, skip_column;
  int16_t* out;   // of the first pixel
  int32_t* wide;  // the same in 32 bits: one of the two is null
  int64_t out_row, out_column;
  const int64_t* places;  // where the units of the block lie from a pixel's `out` on
};

struct ByteKernels;

struct Kernels {
  void (*multiply)(const Product&);
  void (*spread)(const Spread&);
  void (*finish_tiles)(const Finish&);
  void (*finish_pixels)(const Finish&);
  void (*spread_large)(const Spread&);
  void (*finish_large)(const Finish&);
  const ByteKernels* bytes = nullptr;  // instead of multiply, spread and finish_tiles, where there are some
};

Kernels scalar_kernels();
Kernels sse2_kernels();
Kernels avx2_kernels();
Kernels avx_vnni_kernels();        // AVX2 with AVX-VNNI
Kernels avx512_vl_vnni_kernels();  // the same with the instruction as AVX-512 encodes it
Kernels avx512_kernels();
Kernels vnni_kernels();       // AVX-512 with VNNI
Kernels amx_kernels();        // the same with AMX
Kernels amx_model_kernels();  // the same on a model of AMX, to be tested
Kernels neon_kernels();       // 64-bit ARM

}  // namespace pylatent::integers
