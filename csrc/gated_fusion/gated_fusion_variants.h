// The SIMD levels of the elementwise passes.
#pragma once

#include "gated_fusion/gated_fusion.h"

namespace pylatent::gated_fusion {

constexpr int kLanes = 16;  // rows are worked on in multiples of this

// Biases are float (double for float64), not null, and followed by as much as makes their number a multiple of kLanes.
// `sums_u` and `sums_v` may be null; else see gated_fusion_rows.h.
struct Variant {
  void (*forward)(const Forward& job, int64_t begin, int64_t end);
  void (*backward)(const Backward& job, int64_t begin, int64_t end, void* sums_u, void* sums_v);
};

Variant scalar_variant();
Variant avx2_variant();
Variant avx512_variant();

}  // namespace pylatent::gated_fusion
