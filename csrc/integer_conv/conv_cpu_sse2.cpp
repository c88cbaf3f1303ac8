#include "integer_conv/conv_lanes_sse2.h"
#include "integer_conv/conv_tile_kernels.h"

namespace pylatent::integers {

// The sums of half a unit fill 12 of the 16 registers.
Kernels sse2_kernels() { return kernels_on<Lanes128>(multiply<Lanes128, 2>); }

}  // namespace pylatent::integers
