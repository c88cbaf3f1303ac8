#include "integer_conv/conv_lanes_neon.h"
#include "integer_conv/conv_tile_kernels.h"

namespace pylatent::integers {

// The sums of a unit fill 24 of the 32 registers.
Kernels neon_kernels() { return kernels_on<LanesNeon>(multiply<LanesNeon, 4>); }

}  // namespace pylatent::integers
