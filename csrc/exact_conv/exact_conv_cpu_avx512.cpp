#include "exact_conv/exact_kernel_impl.h"
#include "integer_conv/conv_lanes_avx512.h"

namespace pylatent::exact {

Kernels avx512_kernels() {
  return {by_units<Narrow, integers::LanesMadd512>, by_units<Split, integers::LanesMadd512>, wide_tile};
}

}  // namespace pylatent::exact
