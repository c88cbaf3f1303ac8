#ifdef PYLATENT_AVX512
#include "common/simd_avx512.h"
#include "exact_conv/exact_lanes_avx512.h"

namespace pylatent::exact {
namespace {

struct Lanes : Lanes512 {
  static I dot(I sum, I a, I w) { return add(sum, _mm512_madd_epi16(a, w)); }
};

}  // namespace

Kernels avx512_kernels() { return {by_units<Narrow, Lanes>, by_units<Split, Lanes>, wide_tile}; }

}  // namespace pylatent::exact
#endif
