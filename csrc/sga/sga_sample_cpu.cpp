#include "common/blocks.h"
#include "common/checks.h"
#include "common/cpu.h"
#include "sga/sga_kernel.h"
#include "sga/sga_sample.h"

namespace pylatent {
namespace {

sga::Kernel choose_kernel(const SgaSettings& settings, Dtype dtype, bool slope) {
#ifdef PYLATENT_AVX512
  if (simd_level() >= Simd::avx512) return sga::avx512_kernel(settings, dtype, slope);
#endif
#ifdef PYLATENT_AVX2
  if (simd_level() >= Simd::avx2) return sga::avx2_kernel(settings, dtype, slope);
#endif
  return sga::scalar_kernel(settings, dtype, slope);
}

}  // namespace

void sga_sample_forward(const SgaSettings& settings, const void* v, void* value, float* slope, int64_t count,
                        Dtype dtype, int threads) {
  check_range("method", settings.method, 0, 3);
  check_range("classes", settings.classes, 2, 3);
  const sga::Kernel kernel = choose_kernel(settings, dtype, slope != nullptr);
  const int64_t size = element_size(dtype);
  for_blocks(count, 2, threads, [&](int64_t first, int64_t n) {
    kernel(settings, static_cast<const char*>(v) + first * size, static_cast<char*>(value) + first * size,
           slope == nullptr ? nullptr : slope + first, first, n, count);
  });
}

}  // namespace pylatent
