// The transposition of 8 x 8 floats for the AVX2 and AVX-512 variants, which include this in their own namespaces.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace pylatent::deform_conv2d {
namespace {

struct TransposeFloats {
  static constexpr int kBlock = 8;
  static void transpose_block(const float* from, int64_t from_row, float* to, int64_t to_row) {
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
};

}  // namespace
}  // namespace pylatent::deform_conv2d
