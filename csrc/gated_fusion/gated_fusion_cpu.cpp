#include <algorithm>
#include <vector>

#include "common/cpu.h"
#include "common/half.h"
#include "common/parallel.h"
#include "gated_fusion/gate_variants.h"

namespace pylatent::gated_fusion {
namespace {

constexpr int64_t kTask = 1 << 15;  // elements per task: enough to outweigh handing it out

Variant variant() {
#ifdef PYLATENT_GATE_AVX512
  if (simd_level() >= Simd::avx512) return avx512_variant();
#endif
#ifdef PYLATENT_GATE_AVX2
  if (simd_level() >= Simd::avx2) return avx2_variant();
#endif
  return scalar_variant();
}

template <class T>
std::vector<float> widen(const void* from, int64_t n) {
  std::vector<float> out(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) out[i] = to_float(static_cast<const T*>(from)[i]);
  return out;
}

std::vector<float> as_float(const void* bias, Dtype dtype, int64_t n) {
  if (bias == nullptr) return {};
  return dtype == Dtype::bfloat16 ? widen<bf16>(bias, n) : widen<f16>(bias, n);
}

bool is_half(Dtype dtype) { return dtype == Dtype::bfloat16 || dtype == Dtype::float16; }

void check_dtypes(Dtype work, Dtype dtype) {
  if (work != dtype && !(work == Dtype::float32 && is_half(dtype))) unsupported_dtype("gated_fusion", work);
}

int64_t rows_per_task(const Shape& shape) { return std::max<int64_t>(1, kTask / shape.columns); }

}  // namespace

void forward(const Forward& job, int threads) {
  check_dtypes(job.work, job.dtype);
  const Shape& shape = job.shape;
  if (shape.rows == 0 || shape.columns == 0) return;
  Forward wide = job;
  std::vector<float> bias_u, bias_v;
  if (is_half(job.dtype)) {
    bias_u = as_float(job.bias_u, job.dtype, shape.channels);
    bias_v = as_float(job.bias_v, job.dtype, shape.channels);
    wide.bias_u = bias_u.empty() ? nullptr : bias_u.data();
    wide.bias_v = bias_v.empty() ? nullptr : bias_v.data();
  }
  const Variant simd = variant();
  const int64_t step = rows_per_task(shape);
  parallel_for((shape.rows + step - 1) / step, threads,
               [&](int64_t i) { simd.forward(wide, i * step, std::min(shape.rows, (i + 1) * step)); });
}

void backward(const Backward& job, int threads) {
  check_dtypes(job.work, job.dtype);
  const Shape& shape = job.shape;
  if (shape.rows == 0 || shape.columns == 0) return;
  const int64_t size = job.dtype == Dtype::float64 ? 8 : 4;
  char* const sums = static_cast<char*>(job.sums);
  const Variant simd = variant();
  if (sums != nullptr && shape.channels_last) {  // a task per block, so that the sums do not depend on the threads
    const int64_t step = (shape.rows + job.blocks - 1) / job.blocks, bytes = shape.channels * size;
    parallel_for(job.blocks, threads, [&](int64_t i) {
      char* const sums_u = sums + i * bytes;
      char* const sums_v = sums_u + job.blocks * bytes;
      std::fill(sums_u, sums_u + bytes, char(0));
      std::fill(sums_v, sums_v + bytes, char(0));
      simd.backward(job, std::min(shape.rows, i * step), std::min(shape.rows, (i + 1) * step), sums_u, sums_v);
    });
    return;
  }
  const int64_t step = rows_per_task(shape);
  char* const sums_v = sums == nullptr ? nullptr : sums + shape.rows * size;
  parallel_for((shape.rows + step - 1) / step, threads,
               [&](int64_t i) { simd.backward(job, i * step, std::min(shape.rows, (i + 1) * step), sums, sums_v); });
}

}  // namespace pylatent::gated_fusion
