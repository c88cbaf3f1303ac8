// What the kernels with and without VNNI share: a unit is a vector, a block at most four.
#pragma once

#include <cstring>

#include "common/simd_avx512.h"
#include "exact_conv/exact_kernel_impl.h"

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

template <template <class, int> class Pass, class S>
int32_t by_units(const Tile<int16_t>& tile) {
  switch (tile.units) {
    case 1:
      return Pass<S, 1>::run(tile, 0);
    case 2:
      return Pass<S, 2>::run(tile, 0);
    case 3:
      return Pass<S, 3>::run(tile, 0);
    default:
      return Pass<S, 4>::run(tile, 0);
  }
}

}  // namespace
}  // namespace pylatent::exact
