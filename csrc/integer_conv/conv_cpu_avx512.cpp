#include "integer_conv/conv_kernel_impl.h"
#include "integer_conv/conv_lanes_avx512.h"

namespace pylatent::integers {

Kernels avx512_kernels() {
  return {multiply_block<LanesMadd512>, spread<LanesMadd512>, finish_tiles<LanesMadd512>, finish_pixels<LanesMadd512>};
}

}  // namespace pylatent::integers
