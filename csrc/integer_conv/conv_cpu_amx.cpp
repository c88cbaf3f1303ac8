#include "integer_conv/conv_tiles_amx.h"
//
#include "integer_conv/conv_bytes_impl.h"
#include "integer_conv/conv_kernel_impl.h"
#include "integer_conv/conv_lanes_avx512.h"

namespace pylatent::integers {

Kernels amx_kernels() {
  return {multiply_block<LanesVnni512>, spread<LanesVnni512>, finish_tiles<LanesVnni512>, finish_pixels<LanesVnni512>,
          &byte_kernels<LanesVnni512, false>()};
}

}  // namespace pylatent::integers
