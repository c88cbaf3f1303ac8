#include <algorithm>

#include "common/blocks.h"
#include "common/cpu.h"
#include "common/parallel.h"
#include "gaussian_bits/gaussian_bits.h"
#include "gaussian_bits/gaussian_bits_kernel.h"

namespace pylatent {
namespace gaussian {
namespace {

Kernels choose_kernels(Dtype dtype) { return PYLATENT_CALL_VARIANT(simd_level(), kernels, (dtype)); }

}  // namespace
}  // namespace gaussian

namespace {

const void* at(const void* p, int64_t i, Dtype dtype) { return static_cast<const char*>(p) + i * element_size(dtype); }

void* at(void* p, int64_t i, Dtype dtype) {
  return p == nullptr ? nullptr : static_cast<char*>(p) + i * element_size(dtype);
}

}  // namespace

void gaussian_bits_forward(const void* q, const void* scale, float* bits, int64_t count, Dtype dtype, int threads) {
  const auto kernel = gaussian::choose_kernels(dtype).forward;
  for_blocks(count, 1.5, threads,
             [&](int64_t first, int64_t n) { kernel(at(q, first, dtype), at(scale, first, dtype), bits + first, n); });
}

void gaussian_bits_backward(const float* grad, const void* q, const void* scale, void* grad_q, void* grad_scale,
                            int64_t count, Dtype dtype, int threads) {
  const auto kernel = gaussian::choose_kernels(dtype).backward;
  for_blocks(count, 2, threads, [&](int64_t first, int64_t n) {
    kernel(grad + first, at(q, first, dtype), at(scale, first, dtype), at(grad_q, first, dtype),
           at(grad_scale, first, dtype), n);
  });
}

}  // namespace pylatent
