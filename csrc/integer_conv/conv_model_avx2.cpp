#include "integer_conv/conv_tiles_model.h"
//
#include "integer_conv/conv_bytes_impl.h"
#include "integer_conv/conv_kernel_impl.h"
#include "integer_conv/conv_lanes_avx2.h"

namespace pylatent::integers {

Kernels amx_model_kernels() {
  return {multiply<Lanes256, 2>, spread<Lanes256>, finish_tiles<Lanes256>, finish_pixels<Lanes256>,
          &byte_kernels<Lanes256, true>()};
}

}  // namespace pylatent::integers
