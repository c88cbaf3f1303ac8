// Compiled for AVX-512; run only where it exists.
#include "deform_conv2d/deform_conv2d_cpu_kernel.h"
#include "deform_conv2d/deform_conv2d_cpu_transpose.h"

namespace pylatent::deform_conv2d {
namespace {

struct Floats : TransposeFloats {
  using T = float;
  using V = __m512;
  static constexpr int kWidth = 16;

  static __mmask16 first(int n) { return static_cast<__mmask16>((1u << n) - 1); }
  static V set(float x) { return _mm512_set1_ps(x); }
  static V load(const float* p) { return _mm512_loadu_ps(p); }
  static V load(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
  static void store(float* p, V v) { _mm512_storeu_ps(p, v); }
  static void store(float* p, V v, int n) { _mm512_mask_storeu_ps(p, first(n), v); }
  static V multiply(V a, V b) { return _mm512_mul_ps(a, b); }
  static V multiply_add(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static void store_sums(float* p, V a, V b, V c, V d) {
    const V ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const V cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const V abcd = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps(abcd, 1));
    _mm_storeu_ps(p, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
  }
};

}  // namespace

Kernels<float> avx512_kernels(float) { return kernels_of<Floats>(); }
Kernels<double> avx512_kernels(double) { return kernels_of<Array<double, 8>>(); }

}  // namespace pylatent::deform_conv2d
