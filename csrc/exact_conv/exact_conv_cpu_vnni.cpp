#include "exact_conv/exact_kernel_impl.h"
#include "exact_conv/exact_lanes_avx512.h"

namespace pylatent::exact {

Kernels vnni_kernels() { return {by_units<Narrow, LanesVnni512>, by_units<Split, LanesVnni512>, wide_tile}; }

}  // namespace pylatent::exact
