#include "integer_conv/conv_lanes_avx512.h"
#include "integer_conv/conv_tile_kernels.h"

namespace pylatent::integers {

Kernels vnni_kernels() { return kernels_on<LanesVnni512>(multiply_block<LanesVnni512>); }

}  // namespace pylatent::integers
