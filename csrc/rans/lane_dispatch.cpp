#include <algorithm>

#include "common/cpu.h"
#include "rans/lane_kernel.h"

namespace pylatent::rans {

Kernels choose_kernels(const LaneTables& tables, int lanes) {
  const Simd most = !tables.packed() || lanes < 8 ? Simd::scalar : lanes < 16 ? Simd::avx2 : Simd::avx512;
  return PYLATENT_CALL_VARIANT(std::min(simd_level(), most), kernels, (tables, lanes));
}

}  // namespace pylatent::rans
