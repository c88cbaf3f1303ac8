// Networks of convolutions in integers: what pylatent/codecs/exact.py defines in float64, to the bit.
//
// A layer sums integers a w + bias, multiplies negative sums by slope / 2^10, divides by 2^10 rounding halves up, and
// clamps to +-2^20. Its inputs lie within +-2^20, its sums below 2^43 (ExactNetwork checks the weights).
//
// An image goes through the network of 16 bits (exact_small.h) if its activations fit, else through one that takes any
// (exact_any.h). The results are the same.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/dtype.h"
#include "exact_conv/exact_layer.h"

namespace pylatent::exact {

// A layer as Python knows it: weights as Geometry has them, a bias for each output, slope from 0 to 2^10.
struct LayerWeights {
  ConvShape shape;
  std::vector<int32_t> weight;
  std::vector<int64_t> bias;
  int32_t slope;
};

// Images (batch, channels, height, width), contiguous.
struct Images {
  int64_t batch, channels;
  Size size;
};

class SmallNetwork;

class Network {
 public:
  // Throws std::invalid_argument if there is no layer, or one does not take the channels that the last one gives.
  explicit Network(const std::vector<LayerWeights>& layers);
  Network(Network&&) noexcept;
  ~Network();

  int64_t outputs() const { return layers_.back().shape.outputs; }
  // Throws std::invalid_argument if a layer has no output.
  Size output_size(Size input) const;

  // Writes the top left `crop` of the result to `out`, float32 or float64; only what it depends on is computed. Returns
  // false, and leaves `out` unspecified, if values are not integers. variant: a place in integers::variants(), or -1
  // for the last.
  bool run(const double* values, const Images& images, Size crop, void* out, Dtype dtype, int threads,
           int variant) const;

 private:
  template <class T>
  bool run_one(const double* values, Size size, const std::vector<Size>& sizes, T* out, int threads, int variant) const;

  std::vector<Layer> layers_;
  std::unique_ptr<SmallNetwork> small_;
};

// indexes[i] = how many of `thresholds` (ascending, from 0 to 2^20) are below values[i]. Values are integers within
// +-2^20, float32.
void table_indexes(const float* values, int64_t count, const int32_t* thresholds, int64_t thresholds_count,
                   uint8_t* indexes, int threads);

}  // namespace pylatent::exact
