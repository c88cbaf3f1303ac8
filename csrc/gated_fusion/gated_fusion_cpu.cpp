#include <algorithm>
#include <vector>

#include "common/cpu.h"
#include "common/denormals.h"
#include "common/half.h"
#include "common/parallel.h"
#include "gated_fusion/gated_fusion_variants.h"

namespace pylatent::gated_fusion {
namespace {

constexpr int64_t kTask = 1 << 15;             // elements per task: enough to outweigh handing it out
constexpr double kForward = 1, kBackward = 2;  // nanoseconds of an element

double elements(const Shape& shape) { return static_cast<double>(shape.rows) * static_cast<double>(shape.columns); }

// The biases as the variants want them: n values, or zeros for none, as Wide.
template <class Wide, class T>
std::vector<Wide> widen(const void* bias, int64_t n) {
  std::vector<Wide> out(static_cast<size_t>((n + kLanes - 1) / kLanes * kLanes));
  for (int64_t i = 0; bias != nullptr && i < n; ++i) out[i] = to_float(static_cast<const T*>(bias)[i]);
  return out;
}

bool is_half(Dtype dtype) { return dtype == Dtype::bfloat16 || dtype == Dtype::float16; }

void check_dtypes(Dtype work, Dtype dtype) {
  if (work != dtype && !(work == Dtype::float32 && is_half(dtype))) unsupported_dtype("gated_fusion", work);
}

int64_t rows_per_task(const Shape& shape) { return std::max<int64_t>(1, kTask / shape.columns); }

template <class Wide, class T>
void forward_as(Forward job, int threads) {
  const Shape& shape = job.shape;
  const std::vector<Wide> bias_u = widen<Wide, T>(job.bias_u, shape.channels);
  const std::vector<Wide> bias_v = widen<Wide, T>(job.bias_v, shape.channels);
  job.bias_u = bias_u.data();
  job.bias_v = bias_v.data();
  const Variant simd = PYLATENT_CALL_VARIANT(simd_level(), variant, ());
  const int64_t step = rows_per_task(shape);
  parallel_for((shape.rows + step - 1) / step, kForward * elements(shape), threads, [&](int64_t i) {
    const FlushDenormals flush;
    simd.forward(job, i * step, std::min(shape.rows, (i + 1) * step));
  });
}

}  // namespace

void forward(const Forward& job, int threads) {
  check_dtypes(job.work, job.dtype);
  if (job.shape.rows == 0 || job.shape.columns == 0) return;
  switch (job.dtype) {
    case Dtype::float32:
      return forward_as<float, float>(job, threads);
    case Dtype::float64:
      return forward_as<double, double>(job, threads);
    case Dtype::float16:
      return forward_as<float, f16>(job, threads);
    case Dtype::bfloat16:
      return forward_as<float, bf16>(job, threads);
  }
}

void backward(const Backward& job, int threads) {
  check_dtypes(job.work, job.dtype);
  const Shape& shape = job.shape;
  if (shape.rows == 0 || shape.columns == 0) return;
  const int64_t size = job.dtype == Dtype::float64 ? 8 : 4;
  char* const sums = static_cast<char*>(job.sums);
  const Variant simd = PYLATENT_CALL_VARIANT(simd_level(), variant, ());
  if (sums != nullptr && shape.channels_last) {  // a task per block, so that the sums do not depend on the threads
    const int64_t step = (shape.rows + job.blocks - 1) / job.blocks, bytes = shape.channels * size;
    parallel_for(job.blocks, kBackward * elements(shape), threads, [&](int64_t i) {
      const FlushDenormals flush;
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
  parallel_for((shape.rows + step - 1) / step, kBackward * elements(shape), threads, [&](int64_t i) {
    const FlushDenormals flush;
    simd.backward(job, i * step, std::min(shape.rows, (i + 1) * step), sums, sums_v);
  });
}

}  // namespace pylatent::gated_fusion
