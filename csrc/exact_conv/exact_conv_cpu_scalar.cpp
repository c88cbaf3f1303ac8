#include "exact_conv/exact_kernel_impl.h"
#include "exact_conv/exact_lanes_scalar.h"

namespace pylatent::exact {

Kernels scalar_kernels() { return {all_units<Narrow, LaneScalar, 2>, all_units<Split, LaneScalar, 2>, wide_tile}; }

}  // namespace pylatent::exact
