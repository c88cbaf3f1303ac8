// The kernels of one SIMD level: a tile of pixels, a block of output channels, all taps and input channels.
#pragma once

#include <cstdint>

#include "exact_conv/exact_layer.h"

namespace pylatent::exact {

constexpr int kPixels = 6;  // of a tile; with four units they fill 24 vectors of 16 sums

// A: the type of activations and weights, int16_t or int32_t. Fewer pixels repeat the last one.
template <class A>
struct Tile {
  const A* pixels[kPixels];  // first channel of each
  int32_t* out[kPixels];     // first output channel of the block, for each
  const int64_t* taps;       // where taps lie relative to the pixel, in elements
  int64_t tap_count;
  int64_t channels;  // even
  int64_t low;       // where the low parts of split activations lie relative to the high ones, in elements
  int units;
  const A* weights;     // [tap][channel / 2][units * kUnit][channel % 2]
  const int64_t* bias;  // of the block
  const int32_t* narrow_bias;
  int32_t slope;
};

// Each writes the block's outputs of the pixels and returns their largest magnitude.
struct Kernels {
  int32_t (*narrow)(const Tile<int16_t>&);  // sums below 2^31 - 2^10
  int32_t (*split)(const Tile<int16_t>&);   // activations high 2^kSplitBits + low; the sums of each part below 2^31
  int32_t (*wide)(const Tile<int32_t>&);    // sums below 2^43
};

Kernels scalar_kernels();
Kernels sse2_kernels();  // what every x86-64 CPU has
Kernels avx2_kernels();
Kernels avx_vnni_kernels();        // AVX2 with AVX-VNNI
Kernels avx512_vl_vnni_kernels();  // the same with the instruction as AVX-512 encodes it
Kernels avx512_kernels();
Kernels vnni_kernels();  // AVX-512 with VNNI
Kernels neon_kernels();  // 64-bit ARM

}  // namespace pylatent::exact
