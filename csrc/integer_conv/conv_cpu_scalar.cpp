#include "integer_conv/conv_kernel_impl.h"
#include "integer_conv/conv_lanes_scalar.h"

namespace pylatent::integers {

Kernels scalar_kernels() {
  return {multiply<LaneScalar, 2>, spread<LaneScalar>, finish_tiles<LaneScalar>, finish_pixels<LaneScalar>};
}

}  // namespace pylatent::integers
