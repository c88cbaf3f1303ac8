#include "integer_conv/conv_lanes_avx2.h"
#include "integer_conv/conv_tile_kernels.h"

namespace pylatent::integers {

Kernels avx512_vl_vnni_kernels() { return kernels_on<LanesVnni256>(multiply<LanesVnni256, 2>); }

}  // namespace pylatent::integers
