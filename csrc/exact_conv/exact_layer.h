// One layer: its weights as the kernels for activations of any size read them.
#pragma once

#include <cstdint>
#include <vector>

#include "integer_conv/aligned.h"
#include "integer_conv/conv_geometry.h"
#include "integer_conv/conv_kernel.h"

namespace pylatent::exact {

using integers::Aligned;
using integers::allocate;
using integers::Border;
using integers::ConvShape;
using integers::Geometry;
using integers::kMostUnits;
using integers::kUnit;
using integers::Phase;
using integers::round_up;
using integers::Size;
using integers::Tap;

constexpr int kSlopeBits = 10;
constexpr int kWeightBits = 10;
constexpr int32_t kLimit = 1 << 20;  // activations are clamped to +-kLimit
constexpr int kSplitBits = 10;       // of the low part of an activation that is split in two

struct Block {
  int64_t first;  // output channel
  int units;
};

class Layer : public Geometry {
 public:
  // slope: 0 to 2^10. bias: `outputs` integers. Throws std::invalid_argument.
  Layer(const ConvShape& shape, const int32_t* weight, const int64_t* bias, int32_t slope);

  int32_t slope;
  int64_t channels;  // inputs, made even
  int64_t pitch;     // outputs in whole units
  std::vector<Block> blocks;

  // [phase][block][tap][channel / 2][output of the block][channel % 2]: int16 if activations and weights can be
  // multiplied in 16 bits, split in two if need be, without a sum of 2^31, else int32.
  Aligned<int16_t> narrow;
  Aligned<int32_t> wide;
  // `pitch` of them; narrow_bias holds them clamped to 32 bits.
  std::vector<int64_t> bias;
  std::vector<int32_t> narrow_bias;
  // Activations up to this magnitude, which is below 2^15, need not be split: all sums stay below 2^31 - 2^10.
  int32_t narrow_limit = -1;

  // Where the weights of a block begin.
  int64_t weights_of(const Phase& phase, const Block& block) const {
    return (phase.taps_before * pitch + static_cast<int64_t>(phase.taps.size()) * block.first) * channels;
  }

 private:
  template <class W>
  Aligned<W> pack(const int32_t* weight) const;
  bool fits_narrow(const int32_t* weight);
};

}  // namespace pylatent::exact
