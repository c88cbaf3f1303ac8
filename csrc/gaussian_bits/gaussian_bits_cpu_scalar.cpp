#include "common/simd_host.h"
#include "gaussian_bits/gaussian_bits_kernel_impl.h"

namespace pylatent::gaussian {

Kernels scalar_kernels(Dtype dtype) { return kernels<HostScalar>(dtype); }

}  // namespace pylatent::gaussian
