#include "exact_conv/exact_kernel_impl.h"
#include "integer_conv/conv_lanes_scalar.h"

namespace pylatent::exact {

Kernels scalar_kernels() {
  return {all_units<Narrow, integers::LaneScalar, 2>, all_units<Split, integers::LaneScalar, 2>, wide_tile};
}

}  // namespace pylatent::exact
