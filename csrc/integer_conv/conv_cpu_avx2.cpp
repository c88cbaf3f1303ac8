#include "integer_conv/conv_lanes_avx2.h"
#include "integer_conv/conv_tile_kernels.h"

namespace pylatent::integers {

// The sums of one unit fill 12 of the 16 registers.
Kernels avx2_kernels() { return kernels_on<Lanes256>(multiply<Lanes256, 2>); }

}  // namespace pylatent::integers
