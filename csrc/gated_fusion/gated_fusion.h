// What surrounds the matrix products of the gated fusion sigmoid(v) * u, where u = weight_y y + bias_y and
// v = weight_s s + bias_s: biases, sigmoid and product forward, both pre-activation gradients and their sums backward.
//
// All arrays are contiguous. Rows are channels of one picture (NCHW: the channel of row r is r mod channels) or, with
// `channels_last`, pixels, whose columns are the channels.
#pragma once

#include <cstdint>

#include "common/dtype.h"

namespace pylatent::gated_fusion {

struct Shape {
  int64_t rows;
  int64_t columns;
  int64_t channels;
  bool channels_last;
};

// out = sigmoid(v + bias_v) * (u + bias_u); gate = v + bias_v. u and v are `work`, everything else is `dtype`; `out`
// may be u and `gate` may be v where these are one dtype. Biases may be null; `gate` too, when it is not wanted.
struct Forward {
  const void *u, *v, *bias_u, *bias_v;
  void *out, *gate;
  Dtype work, dtype;
  Shape shape;
};

// grad_u = grad * sigmoid(gate) and grad_v = grad * out * sigmoid(-gate), as `work`; grad, out and gate are `dtype`.
// `sums`, unless null, receives what must be added up for the gradients of the biases, as float (double for float64):
// (2, rows) sums of the rows, or with `channels_last` (2, blocks, channels) sums of blocks of ceil(rows / blocks) rows.
struct Backward {
  const void *grad, *out, *gate;
  void *grad_u, *grad_v, *sums;
  int64_t blocks;
  Dtype work, dtype;
  Shape shape;
};

void forward(const Forward& job, int threads);
void backward(const Backward& job, int threads);

}  // namespace pylatent::gated_fusion
