// The weights of a layer as ByteKernels read them.
#pragma once

#include <cstdint>
#include <vector>

#include "integer_conv/aligned.h"
#include "integer_conv/conv_bytes.h"

namespace pylatent::integers {

class Layer;

constexpr double kLeastGain = 1.1;  // for which AMX is chosen

// [block][unit][plane][tap][chunk][channel / 4][output][channel % 4]
struct ByteWeights {
  explicit ByteWeights(const Layer& layer);

  Digits digits;
  int64_t chunks;
  std::vector<int64_t> blocks;  // where each begins
  Aligned<uint8_t> values;

  // How many times as fast as AVX-512 VNNI AMX should be, for rows of so many pixels: in cycles of one core, without
  // what both do.
  double gain(const Layer& layer, int64_t pixels) const;

  int64_t plane() const { return chunks * kChunk; }  // of a pixel's activations
  int64_t pixel() const { return (digits == Digits::three ? 3 : 2) * plane(); }
};

}  // namespace pylatent::integers
