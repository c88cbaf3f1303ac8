// Compiled for AVX2 and FMA; run only where they exist.
#include "deform_conv2d/deform_conv2d_cpu_kernel.h"
#include "deform_conv2d/deform_conv2d_cpu_transpose.h"

namespace pylatent::deform_conv2d {
namespace {

struct Floats : TransposeFloats {
  using T = float;
  using V = __m256;
  static constexpr int kWidth = 8;

  static __m256i first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static V set(float x) { return _mm256_set1_ps(x); }
  static V load(const float* p) { return _mm256_loadu_ps(p); }
  static V load(const float* p, int n) { return _mm256_maskload_ps(p, first(n)); }
  static void store(float* p, V v) { _mm256_storeu_ps(p, v); }
  static void store(float* p, V v, int n) { _mm256_maskstore_ps(p, first(n), v); }
  static V multiply(V a, V b) { return _mm256_mul_ps(a, b); }
  static V multiply_add(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static void store_sums(float* p, V a, V b, V c, V d) {
    const V abcd = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_storeu_ps(p, _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1)));
  }
};

}  // namespace

Kernels<float> avx2_kernels(float) { return kernels_of<Floats>(); }
Kernels<double> avx2_kernels(double) { return kernels_of<Array<double, 4>>(); }

}  // namespace pylatent::deform_conv2d
