#include "exact_conv/exact_kernel_impl.h"
#include "integer_conv/conv_lanes_sse2.h"

namespace pylatent::exact {

// The sums of half a unit fill 12 of the 16 registers.
Kernels sse2_kernels() {
  return {all_units<Narrow, integers::Lanes128, 2>, all_units<Split, integers::Lanes128, 2>, wide_tile};
}

}  // namespace pylatent::exact
