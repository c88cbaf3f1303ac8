#include "common/blocks.h"
#include "common/checks.h"
#include "common/cpu.h"
#include "sga_sample/sga_sample.h"
#include "sga_sample/sga_sample_kernel.h"

namespace pylatent {
namespace sga {
namespace {

Kernel choose_kernel(Dtype dtype) { return PYLATENT_CALL_VARIANT(simd_level(), kernel, (dtype)); }

}  // namespace
}  // namespace sga

void sga_sample_forward(const SgaSettings& settings, const void* v, void* value, float* slope, int64_t count,
                        Dtype dtype, int threads) {
  check_range("method", settings.method, 0, 3);
  check_range("classes", settings.classes, 2, 3);
  const sga::Kernel kernel = sga::choose_kernel(dtype);
  const int64_t size = element_size(dtype);
  for_blocks(count, 2, threads, [&](int64_t first, int64_t n) {
    kernel(settings, static_cast<const char*>(v) + first * size, static_cast<char*>(value) + first * size,
           slope == nullptr ? nullptr : slope + first, first, n, count);
  });
}

}  // namespace pylatent
