// 16, 32 or 64 lanes in one, two or four vectors of 16. Compiled for AVX-512 F, BW, DQ and VL; run only where they
// exist.
#include <immintrin.h>

#include "rans/lane_kernel.h"

namespace pylatent::rans {
namespace {

constexpr int kWidth = 16;

// The words of encode_info or decode_info: up to 64 tables are kept in registers, more are gathered from memory.
template <bool Few>
struct Info {
  __m512i part[4];
  const uint32_t* memory;

  explicit Info(const std::vector<uint32_t>& info) : memory(info.data()) {
    if (!Few) return;
    for (int i = 0; i < 4; ++i) {
      const int left = static_cast<int>(info.size()) - i * kWidth;
      const __mmask16 mask = left >= kWidth ? 0xffff : left > 0 ? static_cast<__mmask16>((1 << left) - 1) : 0;
      part[i] = left > 0 ? _mm512_maskz_loadu_epi32(mask, info.data() + i * kWidth) : _mm512_setzero_si512();
    }
  }

  __m512i operator()(__m512i index) const {
    if (!Few) return _mm512_i32gather_epi32(index, memory, 4);
    const __m512i lower = _mm512_permutex2var_epi32(part[0], index, part[1]);
    const __m512i upper = _mm512_permutex2var_epi32(part[2], index, part[3]);
    return _mm512_mask_mov_epi32(lower, _mm512_test_epi32_mask(index, _mm512_set1_epi32(32)), upper);
  }
};

__m512i load_indexes(const uint16_t* p) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

__m512i ones_below(__m512i bits) {  // 2^bits - 1
  return _mm512_andnot_si512(_mm512_sllv_epi32(_mm512_set1_epi32(-1), bits), _mm512_set1_epi32(-1));
}

__m512i precision_of(__m512i info) {
  return _mm512_add_epi32(_mm512_and_si512(info, _mm512_set1_epi32(3)), _mm512_set1_epi32(kMinPrecision));
}

__m512i extra_of(__m512i info) { return _mm512_and_si512(_mm512_srli_epi32(info, 2), _mm512_set1_epi32(7)); }

[[gnu::noinline, gnu::cold]] void take_escapes(const LaneTables& tables, EscapeReader& escapes, uint32_t mask,
                                               const uint16_t* indexes, int32_t* symbols) {
  for (; mask != 0; mask &= mask - 1) {
    const int lane = __builtin_ctz(mask);
    symbols[lane] = escapes.take(tables.rows[indexes[lane]]);
  }
}

[[gnu::noinline, gnu::cold]] void put_escapes(const LaneTables& tables, EscapeWriter& escapes, uint32_t mask,
                                              const uint16_t* indexes, const int32_t* symbols) {
  for (int lane = kWidth - 1; lane >= 0; --lane) {
    if (mask >> lane & 1) escapes.put(tables.rows[indexes[lane]], symbols[lane]);
  }
}

template <int Vectors, bool Few>
int64_t decode_rows(const LaneTables& tables, Decoder& d, const uint16_t* indexes, int32_t* symbols, int64_t rows) {
  const Info<Few> infos(tables.decode_info);
  const int* slots = reinterpret_cast<const int*>(tables.decode.data());
  const __m512i lower = _mm512_set1_epi32(kLower);
  __m512i state[Vectors];
  for (int v = 0; v < Vectors; ++v) state[v] = _mm512_loadu_si512(d.state + v * kWidth);
  const uint8_t* words = d.words;
  int64_t done = 0;
  for (; done < rows && d.end - words >= 2 * kWidth * Vectors; ++done) {
    for (int v = 0; v < Vectors; ++v, indexes += kWidth, symbols += kWidth) {
      __m512i x = state[v];
      const __m512i info = infos(load_indexes(indexes));
      const __m512i precision = precision_of(info), extra = extra_of(info);
      const __m512i mask = ones_below(precision);
      const __m512i first = _mm512_and_si512(_mm512_slli_epi32(info, 7), _mm512_set1_epi32(0x7ff000));
      const __m512i slot = _mm512_add_epi32(first, _mm512_and_si512(x, mask));
      const __m512i entry = _mm512_i32gather_epi32(slot, slots, 4);
      const __m512i upper = _mm512_srlv_epi32(entry, precision);
      const __m512i bin = _mm512_srlv_epi32(upper, precision);
      x = _mm512_mullo_epi32(_mm512_and_si512(entry, mask), _mm512_srlv_epi32(x, precision));
      x = _mm512_add_epi32(x, _mm512_and_si512(upper, mask));
      const __m512i rest = _mm512_and_si512(x, ones_below(extra));
      x = _mm512_srlv_epi32(x, extra);
      const __m512i base = _mm512_add_epi32(_mm512_srai_epi32(info, 16), rest);
      _mm512_storeu_si512(symbols, _mm512_add_epi32(base, _mm512_sllv_epi32(bin, extra)));
      const __mmask16 escaped = _mm512_testn_epi32_mask(bin, bin);
      if (__builtin_expect(escaped != 0, 0)) take_escapes(tables, d.escapes, escaped, indexes, symbols);
      const __mmask16 low = _mm512_cmplt_epu32_mask(x, lower);
      const __m512i next = _mm512_maskz_expand_epi32(low, load_indexes(reinterpret_cast<const uint16_t*>(words)));
      state[v] = _mm512_mask_or_epi32(x, low, _mm512_slli_epi32(x, 16), next);
      words += 2 * __builtin_popcount(low);
    }
  }
  for (int v = 0; v < Vectors; ++v) _mm512_storeu_si512(d.state + v * kWidth, state[v]);
  d.words = words;
  return done;
}

// floor(x / f) for x < 2^20 f and f < 2^15. The float quotient is wrong by less than 2^-4 + 2^-5 (rounding x and the
// quotient), so that 1/8 less than it, rounded down, is the result or one too small.
__m512i divide(__m512i x, __m512i f, __m512i& remainder) {
  const __m512 quotient = _mm512_div_ps(_mm512_cvtepu32_ps(x), _mm512_cvtepi32_ps(f));
  __m512i q = _mm512_cvttps_epi32(_mm512_sub_ps(quotient, _mm512_set1_ps(0.125f)));
  remainder = _mm512_sub_epi32(x, _mm512_mullo_epi32(q, f));
  const __mmask16 small = _mm512_cmpge_epu32_mask(remainder, f);
  remainder = _mm512_mask_sub_epi32(remainder, small, remainder, f);
  return _mm512_mask_sub_epi32(q, small, q, _mm512_set1_epi32(-1));
}

template <int Vectors, bool Few>
void encode_rows(const LaneTables& tables, Encoder& e, const uint16_t* indexes, const int32_t* symbols, int64_t rows) {
  const Info<Few> infos(tables.encode_info);
  const int* entries = reinterpret_cast<const int*>(tables.encode.data());
  const __m512i one = _mm512_set1_epi32(1);
  __m512i state[Vectors];
  for (int v = 0; v < Vectors; ++v) state[v] = _mm512_loadu_si512(e.state + v * kWidth);
  uint8_t* words = e.words;
  indexes += rows * Vectors * kWidth;
  symbols += rows * Vectors * kWidth;
  for (int64_t row = 0; row < rows; ++row) {
    for (int v = Vectors - 1; v >= 0; --v) {
      indexes -= kWidth;
      symbols -= kWidth;
      __m512i x = state[v];
      const __m512i index = load_indexes(indexes), info = infos(index);
      const __m512i precision = precision_of(info), extra = extra_of(info);
      const __m512i count = _mm512_and_si512(_mm512_srli_epi32(info, 8), _mm512_set1_epi32(255));
      __m512i above = _mm512_sub_epi32(_mm512_loadu_si512(symbols), _mm512_srai_epi32(info, 16));
      const __m512i group = _mm512_srlv_epi32(above, extra);
      const __mmask16 inside = _mm512_cmplt_epu32_mask(group, count);
      above = _mm512_maskz_mov_epi32(inside, above);
      const __m512i bin = _mm512_maskz_add_epi32(inside, group, one);
      const __m512i entry = _mm512_i32gather_epi32(_mm512_add_epi32(_mm512_slli_epi32(index, 8), bin), entries, 4);
      if (__builtin_expect(inside != 0xffff, 0)) {
        put_escapes(tables, e.escapes, static_cast<uint16_t>(~inside), indexes, symbols);
      }
      const __m512i f = _mm512_and_si512(entry, _mm512_set1_epi32(0xffff));
      const __m512i room = _mm512_sub_epi32(_mm512_set1_epi32(32), _mm512_add_epi32(precision, extra));
      const __mmask16 full = _mm512_cmpge_epu32_mask(x, _mm512_sllv_epi32(f, room));
      const int count_full = __builtin_popcount(full);
      words -= 2 * count_full;
      _mm256_mask_storeu_epi16(words, static_cast<__mmask16>((1u << count_full) - 1),
                               _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(full, x)));
      x = _mm512_mask_srli_epi32(x, full, x, 16);
      x = _mm512_or_si512(_mm512_sllv_epi32(x, extra), _mm512_and_si512(above, ones_below(extra)));
      __m512i remainder;
      const __m512i q = divide(x, f, remainder);
      x = _mm512_add_epi32(_mm512_sllv_epi32(q, precision), remainder);
      state[v] = _mm512_add_epi32(x, _mm512_srli_epi32(entry, 16));
    }
  }
  for (int v = 0; v < Vectors; ++v) _mm512_storeu_si512(e.state + v * kWidth, state[v]);
  e.words = words;
}

template <bool Few>
Kernels kernels(int lanes) {
  switch (lanes) {
    case 16:
      return {decode_rows<1, Few>, encode_rows<1, Few>};
    case 32:
      return {decode_rows<2, Few>, encode_rows<2, Few>};
    default:
      return {decode_rows<4, Few>, encode_rows<4, Few>};
  }
}

}  // namespace

Kernels avx512_kernels(const LaneTables& tables, int lanes) {
  return tables.size() <= 64 ? kernels<true>(lanes) : kernels<false>(lanes);
}

}  // namespace pylatent::rans
