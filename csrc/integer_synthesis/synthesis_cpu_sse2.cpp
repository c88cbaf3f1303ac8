#include "exact_conv/exact_lanes_sse2.h"
#include "integer_synthesis/synthesis_kernel_impl.h"

namespace pylatent::integers {
namespace {

struct Lanes : exact::Lanes128 {
  static I multiply_high(I s, I m) {
    // Products without a sign; that of a negative s is 2^32 m too large.
    const I half = _mm_set1_epi64x(INT64_C(1) << 31);
    const I even = _mm_add_epi64(_mm_mul_epu32(s, m), half);
    const I odd = _mm_add_epi64(_mm_mul_epu32(_mm_srli_epi64(s, 32), _mm_srli_epi64(m, 32)), half);
    const I both = _mm_or_si128(_mm_srli_epi64(even, 32), _mm_slli_epi64(_mm_srli_epi64(odd, 32), 32));
    return subtract(both, bit_and(_mm_srai_epi32(s, 31), m));
  }
  static I by_sign(I s, I a, I b) { return select(_mm_srai_epi32(s, 31), a, b); }
  static I load_short(const int16_t* p) {
    const I x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm_srai_epi32(_mm_unpacklo_epi16(x, x), 16);
  }
  static void store_short(int16_t* p, I x) { _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi32(x, x)); }

  using H = __m128i;
  static constexpr int short_width = 8;
  static H load_h(const int16_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static void store_h(int16_t* p, H x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x); }
  static H add_h(H a, H b) { return _mm_add_epi16(a, b); }
  static H subtract_h(H a, H b) { return _mm_sub_epi16(a, b); }
};

}  // namespace

Kernels sse2_kernels() { return {multiply<Lanes, 2>, spread<Lanes>, finish3<Lanes>, finish1<Lanes>}; }

}  // namespace pylatent::integers
