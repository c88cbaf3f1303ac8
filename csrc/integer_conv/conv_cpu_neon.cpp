#include "integer_conv/conv_kernel_impl.h"
#include "integer_conv/conv_lanes_neon.h"

namespace pylatent::integers {

// The sums of a unit fill 24 of the 32 registers.
Kernels neon_kernels() {
  return {multiply<LanesNeon, 4>, spread<LanesNeon>, finish_tiles<LanesNeon>, finish_pixels<LanesNeon>};
}

}  // namespace pylatent::integers
