#include "common/simd_avx2.h"
#include "neighborhood_attention/neighborhood_attention_kernel_impl.h"

namespace pylatent::neighborhood {

Kernels avx2_kernels(Dtype dtype) { return kernels<Avx2>(dtype); }

}  // namespace pylatent::neighborhood
