#include "exact_conv/exact_kernel_impl.h"
#include "integer_conv/conv_lanes_neon.h"

namespace pylatent::exact {

// The sums of a unit fill 24 of the 32 registers.
Kernels neon_kernels() {
  return {all_units<Narrow, integers::LanesNeon, 4>, all_units<Split, integers::LanesNeon, 4>, wide_tile};
}

}  // namespace pylatent::exact
