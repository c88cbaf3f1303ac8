#include "exact_conv/exact_kernel_impl.h"
#include "exact_conv/exact_lanes_avx512.h"

namespace pylatent::exact {

Kernels avx512_kernels() { return {by_units<Narrow, LanesMadd512>, by_units<Split, LanesMadd512>, wide_tile}; }

}  // namespace pylatent::exact
