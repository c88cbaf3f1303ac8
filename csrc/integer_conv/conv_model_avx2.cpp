#include "integer_conv/conv_tiles_model.h"
//
#include "integer_conv/conv_bytes_impl.h"
#include "integer_conv/conv_lanes_avx2.h"
#include "integer_conv/conv_tile_kernels.h"

namespace pylatent::integers {

Kernels amx_model_kernels() { return kernels_on<Lanes256>(multiply<Lanes256, 2>, &byte_kernels<Lanes256, true>()); }

}  // namespace pylatent::integers
