#include "integer_conv/conv_kernel_impl.h"
#include "integer_conv/conv_lanes_avx512.h"

namespace pylatent::integers {

Kernels vnni_kernels() {
  return {multiply_block<LanesVnni512>, spread<LanesVnni512>, finish_tiles<LanesVnni512>, finish_pixels<LanesVnni512>};
}

}  // namespace pylatent::integers
