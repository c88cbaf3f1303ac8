// The CUDA kernels of the gated fusion, as sigmoid(v) * u with u = weight_y y + bias_y and v = weight_s s + bias_s.
//
// Addresses are of device memory, 0 for what is absent; arrays are contiguous: y (B, Cy, P) or, channels-last,
// (B, P, Cy), s, out and gate alike; weights (C, Cy) and (C, Cs); biases (C). dtypes: float32, float16, bfloat16.
#pragma once

#include <cstdint>

#include "common/dtype.h"

namespace pylatent::gated_fusion {

struct CudaForward {
  uintptr_t y, s, weight_y, weight_s, bias_y, bias_s;
  uintptr_t out, gate;  // gate receives v; may be 0
  Dtype dtype;
  int64_t batch, channels_y, channels_s, channels, pixels;
  bool channels_last;
  bool tf32;  // whether float32 may be multiplied as TF32; otherwise as the sum of two TF32 numbers
};

// Channels and pixels that one block computes: chosen such that the busiest multiprocessor is done soonest.
struct TileSize {
  int channels, pixels;
};
TileSize cuda_tile(int64_t channels, int64_t pixels, int multiprocessors);

void cuda_forward(const CudaForward& job, int device, uintptr_t stream);

// In place of u = weight_y y and v = weight_s s, computed elsewhere: sigmoid(v + bias_s) * (u + bias_y) and, with
// `keep`, v + bias_s.
struct CudaGate {
  uintptr_t u, v, bias_y, bias_s;
  bool keep;
  Dtype dtype;
  int64_t batch, channels, pixels;
  bool channels_last;
};

void cuda_gate(const CudaGate& job, int device, uintptr_t stream);

// From grad, out and gate (v): grad_u = grad * sigmoid(v) and grad_v = grad * out * sigmoid(-v). `sums`, unless 0,
// receives float sums of both: (2, B, C), each over a picture, or channels-last (2, blocks, C), each over
// ceil(B P / blocks) pixels.
struct CudaBackward {
  uintptr_t grad, out, gate, grad_u, grad_v, sums;
  int64_t blocks;
  Dtype dtype;
  int64_t batch, channels, pixels;
  bool channels_last;
};

void cuda_backward(const CudaBackward& job, int device, uintptr_t stream);

}  // namespace pylatent::gated_fusion
