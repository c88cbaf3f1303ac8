#include "exact_conv/exact_kernel_impl.h"
#include "integer_conv/conv_lanes_avx2.h"

namespace pylatent::exact {

// The sums of one unit fill 12 of the 16 registers.
Kernels avx2_kernels() {
  return {all_units<Narrow, integers::Lanes256, 2>, all_units<Split, integers::Lanes256, 2>, wide_tile};
}

}  // namespace pylatent::exact
