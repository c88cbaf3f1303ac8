// Compiled for AVX2, FMA and F16C; run only where they exist.
#include "gated_fusion/gated_fusion_rows.h"

namespace pylatent::gated_fusion {

Variant avx2_variant() { return {forward_range, backward_range}; }

}  // namespace pylatent::gated_fusion
