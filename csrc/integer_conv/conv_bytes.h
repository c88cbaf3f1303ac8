// Products of bytes, sixteen pixels by sixteen outputs at a time, as AMX has them.
//
// An activation and a weight are sums of bytes times powers of two, and their product is a few products of bytes, whose
// sums over taps and channels are added with a coefficient each, modulo 2^32:
//   two    8-bit weights: x = 2^8 h + l with l >= 0;
//          x w = l w + 2^8 h w
//   three  (Karatsuba) both within kSmall: x = 2^7 h + l with -2^6 <= l < 2^6, w = 2^7 H + L alike; h + l is a byte;
//          x w = (1 - 2^7) l L + 2^7 (h + l)(H + L) + (2^14 - 2^7) h H
//   four   16-bit weights: x = 2^8 h + l, w = 2^8 H + L;
//          x w = l L + 2^8 (l H + h L) + 2^16 h H
// A 3x3 kernel is applied as it is: of F(2x2, 3x3), whose factors have 16 bits, four products of a quarter as many
// steps would cost less, but its sums are over channels only, too few to hide that they are stored and added.
#pragma once

#include <cstdint>

namespace pylatent::integers {

constexpr int kGroup = 16;      // pixels beside each other: the rows of a tile
constexpr int kGroups = 4;      // at a time, a tile of sums each
constexpr int64_t kChunk = 64;  // channels: the columns of a tile
constexpr int kTileBytes = 1024;
constexpr int32_t kSmall = (1 << 13) + (1 << 6) - 1;

enum class Digits { two, three, four };  // named after their products

// A row of activations to planes of bytes: the lower digit, then the sum of both (of three), then the higher one.
struct Split {
  const int16_t* in;  // [column][channel]
  int64_t columns, pitch;
  Digits digits;
  uint8_t* out;  // [column][plane][channel]
  int64_t plane, pixel;
};

// out[group][pixel][output] = the sum over taps and channels of activations times weights, modulo 2^32.
struct ByteProduct {
  const uint8_t* const* places;  // [tap][group]: the first pixel
  int64_t groups, step;          // step: bytes from one of a group's pixels to the next
  int64_t taps, chunks;
  Digits digits;
  const uint8_t* weights;  // of a block: [unit][plane][tap][chunk][channel / 4][output][channel % 4]
  int units;
  int32_t* out;
};

// every_layer: even those that other kernels are expected to do faster.
struct ByteKernels {
  void (*split)(const Split&);
  void (*multiply)(const ByteProduct&);
  bool every_layer;
};

}  // namespace pylatent::integers
