// The lanes of the kernels for AVX2.
#pragma once

#include <cstring>

#include "common/simd_avx2.h"

namespace pylatent::exact {
namespace {

struct Lanes256 : Avx2 {
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
}  // namespace pylatent::exact
