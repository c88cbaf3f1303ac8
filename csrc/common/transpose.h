// The transposition of a matrix of floats over a SIMD policy: with 8 lanes or more, in blocks of 8 x 8.
#pragma once

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include <cstdint>

namespace pylatent {
namespace {

#ifdef __AVX2__
inline void transpose_8x8(const float* from, int64_t from_row, float* to, int64_t to_row) {
  __m256 a[8], b[8];
  for (int i = 0; i < 4; ++i) {  // rows i and i + 4 side by side, left halves first
    const float *upper = from + i * from_row, *lower = upper + 4 * from_row;
    a[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(upper)), _mm_loadu_ps(lower), 1);
    a[i + 4] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(upper + 4)), _mm_loadu_ps(lower + 4), 1);
  }
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    b[i + 2] = _mm256_unpacklo_ps(a[i + 2], a[i + 3]);
    b[i + 3] = _mm256_unpackhi_ps(a[i + 2], a[i + 3]);
    _mm256_storeu_ps(to + i * to_row, _mm256_shuffle_ps(b[i], b[i + 2], 0x44));
    _mm256_storeu_ps(to + (i + 1) * to_row, _mm256_shuffle_ps(b[i], b[i + 2], 0xee));
    _mm256_storeu_ps(to + (i + 2) * to_row, _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44));
    _mm256_storeu_ps(to + (i + 3) * to_row, _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee));
  }
}
#endif

// to[c][r] = from[r][c], the rows of each `..._row` floats apart.
template <class S>
void transpose(const float* from, int64_t from_row, float* to, int64_t to_row, int64_t rows, int64_t columns) {
  int64_t whole_rows = 0, whole_columns = 0;
#ifdef __AVX2__
  if constexpr (S::width >= 8) {
    whole_rows = rows & ~int64_t{7}, whole_columns = columns & ~int64_t{7};
    for (int64_t r = 0; r < whole_rows; r += 8) {
      for (int64_t c = 0; c < whole_columns; c += 8) {
        transpose_8x8(from + r * from_row + c, from_row, to + c * to_row + r, to_row);
      }
    }
  }
#endif
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c) to[c * to_row + r] = from[r * from_row + c];
  }
}

}  // namespace
}  // namespace pylatent
