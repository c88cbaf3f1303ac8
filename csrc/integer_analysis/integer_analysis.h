// Integer analysis: pixels to latents, or latents to those above them, as pylatent/codecs/integer_analysis.py defines
// it.
//
// All sums are exact modulo 2^32; that they lie below 2^31 is proved in Python from the weights.
#pragma once

#include <cstdint>
#include <vector>

#include "integer_conv/conv_layer.h"

namespace pylatent::integers {

// How an image (channels, height, width) becomes integers: floor(clamp(x unit, low, high) - low + 1/2) + low with the
// unit of x's channel, NaN as `low`. block: positions along a side that become a position's channels (channel, row,
// column).
struct Inputs {
  std::vector<float> units;
  int32_t low, high;
  int64_t block;

  int64_t channels() const { return static_cast<int64_t>(units.size()); }
};

class Analysis {
 public:
  // Throws std::invalid_argument if layers do not fit.
  Analysis(Inputs inputs, std::vector<Layer> layers);

  int64_t outputs() const { return layers_.back().shape.outputs; }
  // Of the result, for an image that is extended by its last row and column to whole blocks of `alignment`.
  Size result_size(Size image, int64_t alignment) const;

  // images: (batch, channels, height, width), contiguous. results: (batch, outputs, result_size), the integers times
  // `scales` (batch, outputs). variant: a place in variants(), or -1 for the last.
  void run(const float* images, int64_t batch, Size image, int64_t alignment, const float* scales, float* results,
           int threads, int variant) const;

 private:
  std::vector<Size> sizes(Size image, int64_t alignment) const;
  void read_row(const float* image, Size size, int64_t row, int64_t columns, int16_t* out, int64_t pitch) const;
  void run_one(const float* image, Size size, const std::vector<Size>& sizes, const float* scales, float* results,
               int threads, int variant) const;

  Inputs inputs_;
  std::vector<Layer> layers_;
};

}  // namespace pylatent::integers
