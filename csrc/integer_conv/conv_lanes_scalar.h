// The lanes of the kernels on a CPU without vectors.
#pragma once

#include <cstring>

#include "common/simd_host.h"

namespace pylatent::integers {
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
  static I multiply_high(I s, I m) { return static_cast<I>((static_cast<int64_t>(s) * m + (INT64_C(1) << 31)) >> 32); }
  static I by_sign(I s, I a, I b) { return s < 0 ? a : b; }
  static I load_short(const int16_t* p) { return *p; }
  static void store_short(int16_t* p, I x) { *p = static_cast<int16_t>(x); }

  using H = int16_t;
  static constexpr int short_width = 1;
  static H load_h(const int16_t* p) { return *p; }
  static void store_h(int16_t* p, H x) { *p = x; }
  static H set_h(int16_t x) { return x; }
  static H scale_h(H x, H c) { return static_cast<H>((x * c + (1 << 14)) >> 15); }
  static H add_h(H a, H b) { return static_cast<H>(a + b); }
  static H subtract_h(H a, H b) { return static_cast<H>(a - b); }

 private:
  // Which half comes first in memory does not matter, as long as both agree.
  static I low(I a) { return static_cast<int16_t>(a & 0xffff); }
  static I high(I a) { return a >> 16; }
};

}  // namespace
}  // namespace pylatent::integers
