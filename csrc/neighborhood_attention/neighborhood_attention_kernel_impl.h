// The kernels of one SIMD level: included by the file of each.
#pragma once

#include <algorithm>

#include "neighborhood_attention/neighborhood_attention_backward_keys.h"
#include "neighborhood_attention/neighborhood_attention_backward_queries.h"

namespace pylatent::neighborhood {
namespace {

template <class Pass>
int64_t floats_of(const Job& job) {
  const Window window{job.kernel, job.kernel};
  const Task task{0, 0, 0, 0, window, window, 0, 1, 0, 1};
  Arena counter(nullptr);
  const Pass pass(job, task, counter);
  return counter.taken();
}

template <class S, class T>
int64_t scratch(const Job& job) {
  return std::max(
      {floats_of<Forward<S, T>>(job), floats_of<BackwardQueries<S, T>>(job), floats_of<BackwardKeys<S, T>>(job)});
}

template <class S, class T>
void forward_task(const Job& job, const Task& task, float* block) {
  Arena arena(block);
  Forward<S, T>(job, task, arena).run();
}

template <class S, class T>
void backward_queries_task(const Job& job, const Task& task, float* delta, float* grad_bias, float* block) {
  Arena arena(block);
  BackwardQueries<S, T>(job, task, arena).run(delta, grad_bias);
}

template <class S, class T>
void backward_keys_task(const Job& job, const Task& task, const float* delta, float* block) {
  Arena arena(block);
  BackwardKeys<S, T>(job, task, arena).run(delta);
}

template <class S, class T>
Kernels kernels_of() {
  return {scratch<S, T>, forward_task<S, T>, backward_queries_task<S, T>, backward_keys_task<S, T>};
}

template <class S>
Kernels kernels(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32:
      return kernels_of<S, float>();
    case Dtype::float16:
      return kernels_of<S, f16>();
    case Dtype::bfloat16:
      return kernels_of<S, bf16>();
    default:
      unsupported_dtype("neighborhood_attention", dtype);
  }
}

}  // namespace
}  // namespace pylatent::neighborhood
