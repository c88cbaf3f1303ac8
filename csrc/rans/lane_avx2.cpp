// 8, 16, 32 or 64 lanes in vectors of 8. Compiled for AVX2; run only where it exists.
#include <immintrin.h>

#include "rans/lane_kernel.h"

namespace pylatent::rans {
namespace {

constexpr int kWidth = 8;

// Positions of the set bits of every mask: `spread` sends the next words to the lanes that read one; `gather` sends the
// lanes that write one to the upper end of the vector.
struct Permutations {
  alignas(64) uint64_t spread[256];
  alignas(64) uint64_t gather[256];

  Permutations() {
    for (int mask = 0; mask < 256; ++mask) {
      uint64_t to = 0, from = 0;
      int rank = 0, place = kWidth - __builtin_popcount(static_cast<unsigned>(mask));
      for (int lane = 0; lane < kWidth; ++lane) {
        if (!(mask >> lane & 1)) continue;
        to |= static_cast<uint64_t>(rank++) << (8 * lane);
        from |= static_cast<uint64_t>(lane) << (8 * place++);
      }
      spread[mask] = to;
      gather[mask] = from;
    }
  }
};

const Permutations kPermutations;

__m256i permutation(uint64_t bytes) { return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(bytes))); }

__m256i widen(const void* p) { return _mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))); }

__m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

void store(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

uint32_t lanes_of(__m256i mask) { return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(mask))); }

__m256i choose(__m256i mask, __m256i yes, __m256i no) { return _mm256_blendv_epi8(no, yes, mask); }

__m256i at_least(__m256i a, __m256i b) { return _mm256_cmpeq_epi32(_mm256_max_epu32(a, b), a); }  // unsigned

__m256i ones_below(__m256i bits) {  // 2^bits - 1
  return _mm256_sub_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), bits), _mm256_set1_epi32(1));
}

template <class Index>
__m256i look_up(const uint32_t* table, const Index* at) {
  const auto entry = [&](int i) { return static_cast<int>(table[at[i]]); };
  __m128i part[2];
  for (int i = 0; i < 2; ++i) {
    const __m128i a = _mm_insert_epi32(_mm_cvtsi32_si128(entry(4 * i)), entry(4 * i + 1), 1);
    const __m128i b = _mm_insert_epi32(_mm_cvtsi32_si128(entry(4 * i + 2)), entry(4 * i + 3), 1);
    part[i] = _mm_unpacklo_epi64(a, b);
  }
  return _mm256_inserti128_si256(_mm256_castsi128_si256(part[0]), part[1], 1);
}

// Eight loads: faster than the gather instruction of many processors, and than its microcode fix on others.
__m256i look_up(const uint32_t* table, __m256i index) {
  alignas(32) uint32_t at[kWidth];
  store(at, index);
  return look_up(table, at);
}

__m256i precision_of(__m256i info) {
  return _mm256_add_epi32(_mm256_and_si256(info, _mm256_set1_epi32(3)), _mm256_set1_epi32(kMinPrecision));
}

__m256i extra_of(__m256i info) { return _mm256_and_si256(_mm256_srli_epi32(info, 2), _mm256_set1_epi32(7)); }

[[gnu::noinline, gnu::cold]] void take_escapes(const LaneTables& tables, EscapeReader& escapes, uint32_t mask,
                                               const uint16_t* indexes, int32_t* symbols) {
  for (int lane = 0; lane < kWidth; ++lane) {
    if (mask >> lane & 1) symbols[lane] = escapes.take(tables.rows[indexes[lane]]);
  }
}

[[gnu::noinline, gnu::cold]] void put_escapes(const LaneTables& tables, EscapeWriter& escapes, uint32_t mask,
                                              const uint16_t* indexes, const int32_t* symbols) {
  for (int lane = kWidth - 1; lane >= 0; --lane) {
    if (mask >> lane & 1) escapes.put(tables.rows[indexes[lane]], symbols[lane]);
  }
}

template <int Vectors>
int64_t decode_rows(const LaneTables& tables, Decoder& d, const uint16_t* indexes, int32_t* symbols, int64_t rows) {
  const uint32_t* infos = tables.decode_info.data();
  const uint32_t* slots = tables.decode.data();
  const __m256i zero = _mm256_setzero_si256();
  __m256i state[Vectors];
  for (int v = 0; v < Vectors; ++v) state[v] = load(d.state + v * kWidth);
  const uint8_t* words = d.words;
  int64_t done = 0;
  for (; done < rows && d.end - words >= 2 * kWidth * Vectors; ++done) {
    for (int v = 0; v < Vectors; ++v, indexes += kWidth, symbols += kWidth) {
      __m256i x = state[v];
      const __m256i info = look_up(infos, indexes);
      const __m256i precision = precision_of(info), extra = extra_of(info);
      const __m256i mask = ones_below(precision);
      const __m256i first = _mm256_and_si256(_mm256_slli_epi32(info, 7), _mm256_set1_epi32(0x7ff000));
      const __m256i entry = look_up(slots, _mm256_add_epi32(first, _mm256_and_si256(x, mask)));
      const __m256i upper = _mm256_srlv_epi32(entry, precision);
      const __m256i bin = _mm256_srlv_epi32(upper, precision);
      x = _mm256_mullo_epi32(_mm256_and_si256(entry, mask), _mm256_srlv_epi32(x, precision));
      x = _mm256_add_epi32(x, _mm256_and_si256(upper, mask));
      const __m256i rest = _mm256_and_si256(x, ones_below(extra));
      x = _mm256_srlv_epi32(x, extra);
      const __m256i base = _mm256_add_epi32(_mm256_srai_epi32(info, 16), rest);
      store(symbols, _mm256_add_epi32(base, _mm256_sllv_epi32(bin, extra)));
      const uint32_t escaped = lanes_of(_mm256_cmpeq_epi32(bin, zero));
      if (__builtin_expect(escaped != 0, 0)) take_escapes(tables, d.escapes, escaped, indexes, symbols);
      const __m256i low = _mm256_cmpeq_epi32(_mm256_srli_epi32(x, 16), zero);
      const uint32_t reading = lanes_of(low);
      const __m256i next = _mm256_permutevar8x32_epi32(widen(words), permutation(kPermutations.spread[reading]));
      state[v] = choose(low, _mm256_or_si256(_mm256_slli_epi32(x, 16), next), x);
      words += 2 * __builtin_popcount(reading);
    }
  }
  for (int v = 0; v < Vectors; ++v) store(d.state + v * kWidth, state[v]);
  d.words = words;
  return done;
}

__m256 to_float(__m256i x) {  // unsigned; the sum is the only rounding
  const __m256 upper = _mm256_cvtepi32_ps(_mm256_srli_epi32(x, 16));
  const __m256 lower = _mm256_cvtepi32_ps(_mm256_and_si256(x, _mm256_set1_epi32(0xffff)));
  return _mm256_add_ps(_mm256_mul_ps(upper, _mm256_set1_ps(65536.0f)), lower);
}

// floor(x / f) for x < 2^20 f and f < 2^15. The float quotient is wrong by less than 2^-4 + 2^-5 (rounding x and the
// quotient), so that 1/8 less than it, rounded down, is the result or one too small.
__m256i divide(__m256i x, __m256i f, __m256i& remainder) {
  const __m256 quotient = _mm256_div_ps(to_float(x), _mm256_cvtepi32_ps(f));
  const __m256i q = _mm256_cvttps_epi32(_mm256_sub_ps(quotient, _mm256_set1_ps(0.125f)));
  remainder = _mm256_sub_epi32(x, _mm256_mullo_epi32(q, f));
  const __m256i small = at_least(remainder, f);
  remainder = _mm256_sub_epi32(remainder, _mm256_and_si256(small, f));
  return _mm256_sub_epi32(q, small);
}

template <int Vectors>
void encode_rows(const LaneTables& tables, Encoder& e, const uint16_t* indexes, const int32_t* symbols, int64_t rows) {
  const uint32_t* infos = tables.encode_info.data();
  const uint32_t* entries = tables.encode.data();
  const __m256i one = _mm256_set1_epi32(1);
  __m256i state[Vectors];
  for (int v = 0; v < Vectors; ++v) state[v] = load(e.state + v * kWidth);
  uint8_t* words = e.words;
  indexes += rows * Vectors * kWidth;
  symbols += rows * Vectors * kWidth;
  for (int64_t row = 0; row < rows; ++row) {
    for (int v = Vectors - 1; v >= 0; --v) {
      indexes -= kWidth;
      symbols -= kWidth;
      __m256i x = state[v];
      const __m256i index = widen(indexes), info = look_up(infos, indexes);
      const __m256i precision = precision_of(info), extra = extra_of(info);
      const __m256i count = _mm256_and_si256(_mm256_srli_epi32(info, 8), _mm256_set1_epi32(255));
      __m256i above = _mm256_sub_epi32(load(symbols), _mm256_srai_epi32(info, 16));
      const __m256i group = _mm256_srlv_epi32(above, extra);
      const __m256i outside = at_least(group, count);
      above = _mm256_andnot_si256(outside, above);
      const __m256i bin = _mm256_andnot_si256(outside, _mm256_add_epi32(group, one));
      const __m256i entry = look_up(entries, _mm256_add_epi32(_mm256_slli_epi32(index, 8), bin));
      const uint32_t escaped = lanes_of(outside);
      if (__builtin_expect(escaped != 0, 0)) put_escapes(tables, e.escapes, escaped, indexes, symbols);
      const __m256i f = _mm256_and_si256(entry, _mm256_set1_epi32(0xffff));
      const __m256i room = _mm256_sub_epi32(_mm256_set1_epi32(32), _mm256_add_epi32(precision, extra));
      const __m256i full = at_least(x, _mm256_sllv_epi32(f, room));
      const uint32_t writing = lanes_of(full);
      const __m256i packed = _mm256_permutevar8x32_epi32(_mm256_and_si256(x, _mm256_set1_epi32(0xffff)),
                                                         permutation(kPermutations.gather[writing]));
      // Writes all eight words: those below the ones that count are overwritten later.
      _mm_storeu_si128(reinterpret_cast<__m128i*>(words - 2 * kWidth),
                       _mm_packus_epi32(_mm256_castsi256_si128(packed), _mm256_extracti128_si256(packed, 1)));
      words -= 2 * __builtin_popcount(writing);
      x = choose(full, _mm256_srli_epi32(x, 16), x);
      x = _mm256_or_si256(_mm256_sllv_epi32(x, extra), _mm256_and_si256(above, ones_below(extra)));
      __m256i remainder;
      const __m256i q = divide(x, f, remainder);
      x = _mm256_add_epi32(_mm256_sllv_epi32(q, precision), remainder);
      state[v] = _mm256_add_epi32(x, _mm256_srli_epi32(entry, 16));
    }
  }
  for (int v = 0; v < Vectors; ++v) store(e.state + v * kWidth, state[v]);
  e.words = words;
}

}  // namespace

Kernels avx2_kernels(const LaneTables&, int lanes) {
  switch (lanes) {
    case 8:
      return {decode_rows<1>, encode_rows<1>};
    case 16:
      return {decode_rows<2>, encode_rows<2>};
    case 32:
      return {decode_rows<4>, encode_rows<4>};
    default:
      return {decode_rows<8>, encode_rows<8>};
  }
}

}  // namespace pylatent::rans
