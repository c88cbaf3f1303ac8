#include "exact_conv/exact_kernel_impl.h"
#include "integer_conv/conv_lanes_avx512.h"

namespace pylatent::exact {

Kernels vnni_kernels() {
  return {by_units<Narrow, integers::LanesVnni512>, by_units<Split, integers::LanesVnni512>, wide_tile};
}

}  // namespace pylatent::exact
