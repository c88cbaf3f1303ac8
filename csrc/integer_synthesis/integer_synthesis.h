// Integer synthesis: what pylatent/codecs/integer.py defines, to the bit.
//
// All sums are exact modulo 2^32; that they lie below 2^31 is proved in Python from the weights.
#pragma once

#include <cstdint>
#include <vector>

#include "integer_conv/conv_layer.h"

namespace pylatent::integers {

class Synthesis {
 public:
  // largest: what the inputs of the first layer are clamped to. Throws std::invalid_argument if layers do not fit.
  Synthesis(int32_t largest, std::vector<Layer> layers);

  int64_t inputs() const { return layers_.front().shape.inputs; }
  // Pixels along a side of a latent's cell.
  int64_t scale() const { return scale_; }

  // latents: (batch, inputs, height, width), contiguous. gains: (batch, inputs). pixels: (batch, scale height,
  // scale width, 3). variant: a place in variants(), or -1 for the last.
  void run(const float* latents, int64_t batch, Size size, const int32_t* gains, uint8_t* pixels, int threads,
           int variant) const;

 private:
  void run_one(const float* latents, Size size, const int32_t* gains, uint8_t* pixels, int threads, int variant) const;

  int32_t largest_;
  std::vector<Layer> layers_;
  int64_t scale_ = 1;
};

}  // namespace pylatent::integers
