#include "integer_conv/conv_kernel_impl.h"
#include "integer_conv/conv_lanes_sse2.h"

namespace pylatent::integers {

// The sums of half a unit fill 12 of the 16 registers.
Kernels sse2_kernels() {
  return {multiply<Lanes128, 2>, spread<Lanes128>, finish_tiles<Lanes128>, finish_pixels<Lanes128>};
}

}  // namespace pylatent::integers
