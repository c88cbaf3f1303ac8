// One layer: its geometry, and its weights as the kernels read them.
//
// A transposed convolution of stride s is s^2 ordinary ones, each of which gives the outputs of one phase (rows y with
// y mod s, columns x with x mod s) from the taps that meet it. An ordinary convolution is one phase.
#pragma once

#include <cstdint>
#include <vector>

#include "exact_conv/aligned.h"

namespace pylatent::exact {

constexpr int kUnit = 16;      // output channels come in units
constexpr int kMostUnits = 4;  // of a block, which a kernel computes at once
constexpr int kSlopeBits = 10;
constexpr int kWeightBits = 10;
constexpr int32_t kLimit = 1 << 20;  // activations are clamped to +-kLimit
constexpr int kSplitBits = 10;       // of the low part of an activation that is split in two

constexpr int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

struct Size {
  int64_t height, width;
  int64_t area() const { return height * width; }
};

struct Tap {
  int64_t row, column;  // of the input that it multiplies, relative to the phase's pixel
};

struct Phase {
  int64_t row, column;  // of its first output
  std::vector<Tap> taps;
  int64_t first_weight;
};

struct Block {
  int64_t first;  // output channel
  int units;
};

// Zeros that surround an input.
struct Border {
  int64_t top, left, bottom, right;
};

// As in torch. weight: (outputs, inputs, kernel_h, kernel_w), or (inputs, outputs, ...) if transposed.
struct LayerShape {
  int64_t inputs, outputs, kernel_h, kernel_w, stride, padding, output_padding;
  bool transposed;
};

class Layer {
 public:
  // slope: 0 to 2^10. bias: `outputs` integers. Throws std::invalid_argument.
  Layer(const LayerShape& shape, const int32_t* weight, const int64_t* bias, int32_t slope);

  LayerShape shape;
  int32_t slope;
  int64_t channels;           // inputs, made even
  int64_t pitch;              // outputs in whole units
  int64_t in_step, out_step;  // pixels of a phase are so far apart
  std::vector<Phase> phases;
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

  Size output_size(Size input) const;                // of the whole output
  Size needed_input(Size input, Size output) const;  // the part of the input that the first `output` depend on
  Size phase_size(const Phase& phase, Size output) const;
  Border border(Size input, Size output) const;
  // Where the weights of a block begin.
  int64_t weights_of(const Phase& phase, const Block& block) const {
    return phase.first_weight + static_cast<int64_t>(phase.taps.size()) * channels * block.first;
  }

 private:
  void find_phases();
  template <class W>
  Aligned<W> pack(const int32_t* weight) const;
  bool fits_narrow(const int32_t* weight);
  int64_t index(int64_t output, int64_t input, int64_t y, int64_t x) const;
  Tap kernel_position(const Phase& phase, const Tap& tap) const;
};

}  // namespace pylatent::exact
