#ifdef PYLATENT_AVX2
#include <cstring>

#include "common/simd_avx2.h"
#include "exact_conv/exact_kernel_impl.h"

namespace pylatent::exact {
namespace {

struct Lanes : Avx2 {
  static I load_pairs(const int16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static I pair(const int16_t* p) {
    int32_t both;
    std::memcpy(&both, p, sizeof both);
    return _mm256_set1_epi32(both);
  }
  static I dot(I sum, I a, I w) { return add(sum, _mm256_madd_epi16(a, w)); }
  static I multiply(I a, I b) { return _mm256_mullo_epi32(a, b); }
};

}  // namespace

// The sums of one unit fill 12 of the 16 registers.
Kernels avx2_kernels() { return {all_units<Narrow, Lanes, 2>, all_units<Split, Lanes, 2>, wide_tile}; }

}  // namespace pylatent::exact
#endif
