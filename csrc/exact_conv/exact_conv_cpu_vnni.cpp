#ifdef PYLATENT_AVX512
#include "common/simd_avx512.h"
#include "exact_conv/exact_lanes_avx512.h"

namespace pylatent::exact {
namespace {

struct Lanes : Lanes512 {
  static I dot(I sum, I a, I w) { return _mm512_dpwssd_epi32(sum, a, w); }
};

}  // namespace

Kernels vnni_kernels() { return {by_units<Narrow, Lanes>, by_units<Split, Lanes>, wide_tile}; }

}  // namespace pylatent::exact
#endif
