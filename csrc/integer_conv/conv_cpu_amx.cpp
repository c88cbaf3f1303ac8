#include "integer_conv/conv_tiles_amx.h"
//
#include "integer_conv/conv_bytes_impl.h"
#include "integer_conv/conv_lanes_avx512.h"
#include "integer_conv/conv_tile_kernels.h"

namespace pylatent::integers {

Kernels amx_kernels() {
  return kernels_on<LanesVnni512>(multiply_block<LanesVnni512>, &byte_kernels<LanesVnni512, false>());
}

}  // namespace pylatent::integers
