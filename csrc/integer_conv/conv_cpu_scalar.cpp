#include "integer_conv/conv_lanes_scalar.h"
#include "integer_conv/conv_tile_kernels.h"

namespace pylatent::integers {

Kernels scalar_kernels() { return kernels_on<LaneScalar>(multiply<LaneScalar, 2>); }

}  // namespace pylatent::integers
