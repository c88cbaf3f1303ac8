// Integer analysis: pixels to latents, as pylatent/codecs/integer_analysis.py defines it.
//
// All sums are exact modulo 2^32; that they lie below 2^31 is proved in Python from the weights.
#pragma once

#include <cstdint>
#include <vector>

#include "integer_conv/conv_layer.h"

namespace pylatent::integers {

class Analysis {
 public:
  // unit: what a pixel of 1 becomes. block: pixels along a side that become a position's channels (colour, row,
  // column). Throws std::invalid_argument if layers do not fit.
  Analysis(int32_t unit, int64_t block, std::vector<Layer> layers);

  int64_t outputs() const { return layers_.back().shape.outputs; }
  // Of latents, for a picture that is extended by its last row and column to whole blocks of `alignment`.
  Size result_size(Size picture, int64_t alignment) const;

  // pixels: (batch, 3, height, width), contiguous, from 0 to 1. latents: (batch, outputs, result_size), the results
  // times `scales` (batch, outputs). variant: a place in variants(), or -1 for the last.
  void run(const float* pixels, int64_t batch, Size picture, int64_t alignment, const float* scales, float* latents,
           int threads, int variant) const;

 private:
  std::vector<Size> sizes(Size picture, int64_t alignment) const;
  void run_one(const float* pixels, Size picture, const std::vector<Size>& sizes, const float* scales, float* latents,
               int threads, int variant) const;

  int32_t unit_;
  int64_t block_;
  std::vector<Layer> layers_;
};

}  // namespace pylatent::integers
