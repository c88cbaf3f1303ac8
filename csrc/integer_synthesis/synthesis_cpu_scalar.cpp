#include "exact_conv/exact_lanes_scalar.h"
#include "integer_synthesis/synthesis_kernel_impl.h"

namespace pylatent::integers {
namespace {

struct Lane : exact::LaneScalar {
  static I multiply_high(I s, I m) { return static_cast<I>((static_cast<int64_t>(s) * m + (INT64_C(1) << 31)) >> 32); }
  static I by_sign(I s, I a, I b) { return s < 0 ? a : b; }
  static I load_short(const int16_t* p) { return *p; }
  static void store_short(int16_t* p, I x) { *p = static_cast<int16_t>(x); }

  using H = int16_t;
  static constexpr int short_width = 1;
  static H load_h(const int16_t* p) { return *p; }
  static void store_h(int16_t* p, H x) { *p = x; }
  static H add_h(H a, H b) { return static_cast<H>(a + b); }
  static H subtract_h(H a, H b) { return static_cast<H>(a - b); }
};

}  // namespace

Kernels scalar_kernels() { return {multiply<Lane, 2>, spread<Lane>, finish3<Lane>, finish1<Lane>}; }

}  // namespace pylatent::integers
