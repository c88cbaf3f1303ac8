#include "common/simd_avx512.h"
#include "sga_sample/sga_sample_kernel_impl.h"

namespace pylatent::sga {
namespace {

// The keys of Philox's rounds.
struct Rounds {
  __m512i low[10], high[10];

  explicit Rounds(const int64_t* key) {
    const uint64_t k = key == nullptr ? 0 : static_cast<uint64_t>(key[0]);
    for (uint32_t i = 0; i < 10; ++i) {
      low[i] = _mm512_set1_epi64(static_cast<uint32_t>(k) + i * 0x9E3779B9);
      high[i] = _mm512_set1_epi64(static_cast<uint32_t>(k >> 32) + i * 0xBB67AE85);
    }
  }
};

// Words 0 to 3 of Philox4x32-10 (common/philox.h) in the lower halves of 64-bit lanes, one lane a block. What the upper
// halves hold does not matter: products are of the lower ones.
void philox(const int64_t* key, const Rounds& rounds, __m512i block, __m512i (&c)[4]) {
  const __m512i first = _mm512_set1_epi64(0xD2511F53), second = _mm512_set1_epi64(0xCD9E8D57);
  c[0] = block;
  c[1] = _mm512_srli_epi64(block, 32);
  c[2] = _mm512_set1_epi64(key[1]);
  c[3] = _mm512_srli_epi64(c[2], 32);
  for (int round = 0; round < 10; ++round) {
    const __m512i p = _mm512_mul_epu32(c[0], first), q = _mm512_mul_epu32(c[2], second);
    c[0] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(q, 32), c[1], rounds.low[round], 0x96);  // x ^ y ^ z
    c[1] = q;
    c[2] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p, 32), c[3], rounds.high[round], 0x96);
    c[3] = p;
  }
}

struct Lanes : Avx512 {
  using Rounds = sga::Rounds;

  template <int Classes>
  static void words(const int64_t* key, const Rounds& rounds, int64_t block, __m512i (&words)[4]) {
    // 32-bit lane 4 g + p holds block 4 p + g for two classes, 2 g + p % 2 + 8 (p / 2) for three, so that transposing
    // within groups of four lanes, the cheap kind of shuffle, puts the elements in order.
    const __m512i even =
        Classes == 2 ? _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11) : _mm512_setr_epi64(0, 8, 2, 10, 4, 12, 6, 14);
    const __m512i odd =
        Classes == 2 ? _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15) : _mm512_setr_epi64(1, 9, 3, 11, 5, 13, 7, 15);
    __m512i e[4], o[4], w[4];
    philox(key, rounds, _mm512_add_epi64(_mm512_set1_epi64(block), even), e);
    philox(key, rounds, _mm512_add_epi64(_mm512_set1_epi64(block), odd), o);
    for (int i = 0; i < 4; ++i) w[i] = _mm512_mask_blend_epi32(0xaaaa, e[i], _mm512_slli_epi64(o[i], 32));
    if constexpr (Classes == 2) {
      const __m512i a = _mm512_unpacklo_epi32(w[0], w[1]), b = _mm512_unpacklo_epi32(w[2], w[3]);
      const __m512i c = _mm512_unpackhi_epi32(w[0], w[1]), d = _mm512_unpackhi_epi32(w[2], w[3]);
      words[0] = _mm512_unpacklo_epi64(a, b);
      words[1] = _mm512_unpackhi_epi64(a, b);
      words[2] = _mm512_unpacklo_epi64(c, d);
      words[3] = _mm512_unpackhi_epi64(c, d);
    } else {
      words[0] = _mm512_unpacklo_epi32(w[0], w[2]);
      words[1] = _mm512_unpacklo_epi32(w[1], w[3]);
      words[2] = _mm512_unpackhi_epi32(w[0], w[2]);
      words[3] = _mm512_unpackhi_epi32(w[1], w[3]);
    }
  }
};

}  // namespace

Kernel avx512_kernel(Dtype dtype) { return kernel_of<Lanes>(dtype); }

}  // namespace pylatent::sga
