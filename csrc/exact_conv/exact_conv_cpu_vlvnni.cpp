#include "exact_conv/exact_kernel_impl.h"
#include "integer_conv/conv_lanes_avx2.h"

namespace pylatent::exact {

Kernels avx512_vl_vnni_kernels() {
  return {all_units<Narrow, integers::LanesVnni256, 2>, all_units<Split, integers::LanesVnni256, 2>, wide_tile};
}

}  // namespace pylatent::exact
