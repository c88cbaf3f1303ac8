#include "common/simd_avx512.h"
#include "neighborhood_attention/neighborhood_attention_kernel_impl.h"

namespace pylatent::neighborhood {

Kernels avx512_kernels(Dtype dtype) { return kernels<Avx512>(dtype); }

}  // namespace pylatent::neighborhood
