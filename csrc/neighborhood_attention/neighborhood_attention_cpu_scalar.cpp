#include "common/simd_host.h"
#include "neighborhood_attention/neighborhood_attention_kernel_impl.h"

namespace pylatent::neighborhood {

Kernels scalar_kernels(Dtype dtype) { return kernels<HostScalar>(dtype); }

}  // namespace pylatent::neighborhood
