#include "common/cpu.h"
#include "rans/lane_kernel.h"

namespace pylatent::rans {

Kernels choose_kernels([[maybe_unused]] const LaneTables& tables, [[maybe_unused]] int lanes) {
#ifdef PYLATENT_LANE_AVX512
  if (simd_level() >= Simd::avx512 && tables.packed() && lanes >= 16) return avx512_kernels(tables, lanes);
#endif
#ifdef PYLATENT_LANE_AVX2
  if (simd_level() >= Simd::avx2 && tables.packed() && lanes >= 8) return avx2_kernels(tables, lanes);
#endif
  return scalar_kernels(tables, lanes);
}

}  // namespace pylatent::rans
