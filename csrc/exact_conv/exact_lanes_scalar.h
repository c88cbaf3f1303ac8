// The lanes of the kernels on a CPU without vectors.
#pragma once

#include <cstring>

#include "common/simd_host.h"

namespace pylatent::exact {
namespace {

struct LaneScalar : HostScalar {
  // A pair of int16 in one int32.
  static I load_pairs(const int16_t* p) {
    I both;
    std::memcpy(&both, p, sizeof both);
    return both;
  }
  static I pair(const int16_t* p) { return load_pairs(p); }
  static I dot(I sum, I a, I w) { return add(sum, low(a) * low(w) + high(a) * high(w)); }
  static I multiply(I a, I b) { return a * b; }

 private:
  // Which half comes first in memory does not matter, as long as both agree.
  static I low(I a) { return static_cast<int16_t>(a & 0xffff); }
  static I high(I a) { return a >> 16; }
};

}  // namespace
}  // namespace pylatent::exact
