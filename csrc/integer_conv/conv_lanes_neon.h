// The lanes of the kernels for every 64-bit ARM.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace pylatent::integers {
namespace {

// Four lanes; only the integer operations that the kernels need. Pairs of int16 are held as the four first ones, then
// the four second ones, which multiply-add instructions take.
struct LanesNeon {
  using I = int32x4_t;
  static constexpr int width = 4;

  static I set_int(int32_t x) { return vdupq_n_s32(x); }
  static I load(const int32_t* p) { return vld1q_s32(p); }
  static void store(int32_t* p, I x) { vst1q_s32(p, x); }
  static I load_pairs(const int16_t* p) {
    const int16x8_t both = vld1q_s16(p);
    return vreinterpretq_s32_s16(
        vcombine_s16(vget_low_s16(vuzp1q_s16(both, both)), vget_low_s16(vuzp2q_s16(both, both))));
  }
  static I pair(const int16_t* p) { return vreinterpretq_s32_s16(vcombine_s16(vld1_dup_s16(p), vld1_dup_s16(p + 1))); }
  static I dot(I sum, I a, I w) {
    const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(w);
    return vmlal_high_s16(vmlal_s16(sum, vget_low_s16(x), vget_low_s16(y)), x, y);
  }
  static I add(I a, I b) { return vaddq_s32(a, b); }
  static I subtract(I a, I b) { return vsubq_s32(a, b); }
  static I bit_and(I a, I b) { return vandq_s32(a, b); }
  static I min(I a, I b) { return vminq_s32(a, b); }
  static I max(I a, I b) { return vmaxq_s32(a, b); }
  template <int N>
  static I shift_right(I a) {
    return vshrq_n_s32(a, N);
  }
  static I multiply(I a, I b) { return vmulq_s32(a, b); }
  static I multiply_high(I s, I m) {
    const int32x2_t low = vrshrn_n_s64(vmull_s32(vget_low_s32(s), vget_low_s32(m)), 32);
    return vrshrn_high_n_s64(low, vmull_high_s32(s, m), 32);
  }
  static I by_sign(I s, I a, I b) { return vbslq_s32(vcltzq_s32(s), a, b); }
  static I load_short(const int16_t* p) { return vmovl_s16(vld1_s16(p)); }
  static void store_short(int16_t* p, I x) { vst1_s16(p, vmovn_s32(x)); }

  using H = int16x8_t;
  static constexpr int short_width = 8;
  static H load_h(const int16_t* p) { return vld1q_s16(p); }
  static void store_h(int16_t* p, H x) { vst1q_s16(p, x); }
  static H set_h(int16_t x) { return vdupq_n_s16(x); }
  static H scale_h(H x, H c) { return vqrdmulhq_s16(x, c); }
  static H add_h(H a, H b) { return vaddq_s16(a, b); }
  static H subtract_h(H a, H b) { return vsubq_s16(a, b); }
};

}  // namespace
}  // namespace pylatent::integers
