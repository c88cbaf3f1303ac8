#include "integer_conv/conv_kernel_impl.h"
#include "integer_conv/conv_lanes_avx2.h"

namespace pylatent::integers {

Kernels avx_vnni_kernels() {
  return {multiply<LanesVnni256, 2>, spread<LanesVnni256>, finish_tiles<LanesVnni256>, finish_pixels<LanesVnni256>};
}

}  // namespace pylatent::integers
