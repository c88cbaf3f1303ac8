// Networks of convolutions in integers: what pylatent/codecs/exact.py defines in float64, to the bit.
//
// A layer sums integers a w + bias, multiplies negative sums by slope / 2^10, divides by 2^10 rounding halves up, and
// clamps to +-2^20. Its inputs lie within +-2^20, its sums below 2^43 (ExactNetwork checks the weights).
//
// Products are of 16 bits and summed in 32. That no sum overflows is proved for each image and layer before it runs:
// max |a| times the largest L1 norm of the weights of an output, and |bias|, must stay below 2^31 - 2^10. Otherwise
// activations are split in two parts of some ten bits, whose sums meet in 64 bits; and layers whose weights are too
// large for that are summed in float64, which holds integers below 2^53. The results are the same.
#pragma once

#include <cstdint>
#include <vector>

#include "common/dtype.h"
#include "exact_conv/exact_layer.h"

namespace pylatent::exact {

// Names of the sets of kernels that this machine and PYLATENT_SIMD allow, the fastest last.
std::vector<const char*> variants();

// Images (batch, channels, height, width), contiguous.
struct Images {
  int64_t batch, channels;
  Size size;
};

class Network {
 public:
  // Throws std::invalid_argument if there is no layer, or one does not take the channels that the last one gives.
  explicit Network(std::vector<Layer> layers);

  int64_t outputs() const { return layers_.back().shape.outputs; }
  // Throws std::invalid_argument if a layer has no output.
  Size output_size(Size input) const;

  // Writes the top left `crop` of the result to `out`, float32 or float64; only what it depends on is computed. Returns
  // false, and leaves `out` unspecified, if values are not integers. variant: a place in variants(), or -1 for the
  // last.
  bool run(const double* values, const Images& images, Size crop, void* out, Dtype dtype, int threads,
           int variant) const;

 private:
  std::vector<Layer> layers_;
};

// indexes[i] = how many of `thresholds` (ascending, from 0 to 2^20) are below values[i]. Values are integers within
// +-2^20, float32.
void table_indexes(const float* values, int64_t count, const int32_t* thresholds, int64_t thresholds_count,
                   uint8_t* indexes, int threads);

}  // namespace pylatent::exact
