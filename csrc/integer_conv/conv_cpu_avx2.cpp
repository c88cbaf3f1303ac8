#include "integer_conv/conv_kernel_impl.h"
#include "integer_conv/conv_lanes_avx2.h"

namespace pylatent::integers {

// The sums of one unit fill 12 of the 16 registers.
Kernels avx2_kernels() {
  return {multiply<Lanes256, 2>, spread<Lanes256>, finish_tiles<Lanes256>, finish_pixels<Lanes256>};
}

}  // namespace pylatent::integers
