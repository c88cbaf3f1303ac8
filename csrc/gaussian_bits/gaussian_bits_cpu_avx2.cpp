#include "common/simd_avx2.h"
#include "gaussian_bits/gaussian_bits_kernel_impl.h"

namespace pylatent::gaussian {

Kernels avx2_kernels(Dtype dtype) { return kernels<Avx2>(dtype); }

}  // namespace pylatent::gaussian
