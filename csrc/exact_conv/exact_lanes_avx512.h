// The lanes of the kernels for AVX-512, with and without VNNI.
#pragma once

#include <cstring>

#include "common/simd_avx512.h"

namespace pylatent::exact {
namespace {

struct Lanes512 : Avx512 {
  static I load_pairs(const int16_t* p) { return _mm512_loadu_si512(p); }
  static I pair(const int16_t* p) {
    int32_t both;
    std::memcpy(&both, p, sizeof both);
    return _mm512_set1_epi32(both);
  }
  static I multiply(I a, I b) { return _mm512_mullo_epi32(a, b); }
};

struct LanesMadd512 : Lanes512 {
  static I dot(I sum, I a, I w) { return add(sum, _mm512_madd_epi16(a, w)); }
};

#ifdef __AVX512VNNI__
struct LanesVnni512 : Lanes512 {
  static I dot(I sum, I a, I w) { return _mm512_dpwssd_epi32(sum, a, w); }
};
#endif

}  // namespace
}  // namespace pylatent::exact
