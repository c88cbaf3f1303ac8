#include "integer_conv/conv_lanes_avx512.h"
#include "integer_conv/conv_tile_kernels.h"

namespace pylatent::integers {

Kernels avx512_kernels() { return kernels_on<LanesMadd512>(multiply_block<LanesMadd512>); }

}  // namespace pylatent::integers
