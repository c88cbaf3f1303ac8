#include "common/simd_avx512.h"
#include "gaussian_bits/gaussian_bits_kernel_impl.h"

namespace pylatent::gaussian {

Kernels avx512_kernels(Dtype dtype) { return kernels<Avx512>(dtype); }

}  // namespace pylatent::gaussian
