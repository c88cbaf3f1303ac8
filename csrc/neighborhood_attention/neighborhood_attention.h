// Neighbourhood attention: every query attends to the kernel x kernel keys around it, the window shifted inwards at the
// borders. With a dilation, rows of one residue are a sequence of their own, and so are columns.
#pragma once

#include <cstdint>

#include "common/dtype.h"

namespace pylatent::neighborhood {

// A tensor (batch, height, width, heads, dim): strides in elements; the last is 1.
struct Tokens {
  uintptr_t data;
  int64_t batch, row, column, head;
};

struct Job {
  int64_t batch, height, width, heads, dim;
  int64_t kernel, dilation;
  float scale;
  Dtype dtype;
  Tokens q, k, v;
  uintptr_t bias;  // floats (heads, 2 kernel - 1, 2 kernel - 1), or 0
  Tokens out;      // backward: its gradient
  uintptr_t lse;   // floats (batch, heads, height, width): logarithm of the sum of the exponentials of a query's scores
  // Backward alone:
  Tokens grad_q, grad_k, grad_v;
  uintptr_t grad_bias;  // like bias
};

void forward(const Job& job, int threads);
void backward(const Job& job, int threads);

}  // namespace pylatent::neighborhood
