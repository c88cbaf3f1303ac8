// The CPU kernels of one SIMD level: a task is a block of rows of a strip of columns, of one head and residue.
#pragma once

#include <cstdint>

#include "neighborhood_attention/neighborhood_attention.h"
#include "neighborhood_attention/neighborhood_attention_window.h"

namespace pylatent::neighborhood {

constexpr int64_t kRowBlock = 16, kStrip = 128;

struct Task {
  int64_t batch, head, row_phase, column_phase;
  Window rows, columns;
  int64_t y0, y1, x0, x1;  // what the task computes, in elements of the residue
};

struct Kernels {
  int64_t (*scratch)(const Job& job);  // floats that a call needs
  void (*forward)(const Job& job, const Task& task, float* scratch);
  // The gradients of queries and bias, and for each query delta (as lse): the sum of its gradients of probabilities
  // times these.
  void (*backward_queries)(const Job& job, const Task& task, float* delta, float* grad_bias, float* scratch);
  void (*backward_keys)(const Job& job, const Task& task, const float* delta, float* scratch);
};

Kernels scalar_kernels(Dtype dtype);
Kernels avx2_kernels(Dtype dtype);
Kernels avx512_kernels(Dtype dtype);

}  // namespace pylatent::neighborhood
