// One layer: its weights as the kernels read them, and where its outputs go.
#pragma once

#include <cstdint>
#include <vector>

#include "exact_conv/aligned.h"
#include "integer_synthesis/synthesis_kernel.h"

namespace pylatent::integers {

using exact::Aligned;
using exact::allocate;

constexpr int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// kernel: 3 or 1. shuffle: pixels along a side that an output becomes.
struct LayerShape {
  int64_t inputs, outputs, kernel, shuffle;
  bool skip;
  int32_t low, high;
};

struct Block {
  int64_t first;    // of `Layer::bias` and its like, and of `Layer::units`
  int64_t weights;  // of `Layer::weights`
  int units;
};

// A unit's place among the pixels and channels of an output.
struct Unit {
  int64_t row, column, channel;
};

class Layer {
 public:
  // weight (outputs, inputs, kernel, kernel); bias, multiplier, negative: `outputs` each. `last`: outputs stay
  // together, a pixel's colours after each other, for bytes to be made of them. Throws std::invalid_argument.
  Layer(const LayerShape& shape, const int16_t* weight, const int32_t* bias, const int32_t* multiplier,
        const int32_t* negative, bool last);

  LayerShape shape;
  int64_t depth;      // inputs, made even
  int64_t spread;     // pixels along a side that an output becomes in the activations: shuffle, or 1 of the last layer
  int64_t channels;   // of the activations
  int64_t positions;  // of products: 16, or 1 for 1x1
  std::vector<Block> blocks;
  std::vector<Unit> units;
  std::vector<int32_t> bias, multiplier, negative;  // in whole units
  Aligned<int16_t> weights;                         // [block][position][channel / 2][output of the block][channel % 2]

 private:
  void place_units(const std::vector<int64_t>& origins);
};

}  // namespace pylatent::integers
