// Compiled for AVX-512 F, BW, DQ and VL; run only where they exist.
#include "gated_fusion/gated_fusion_rows.h"

namespace pylatent::gated_fusion {

Variant avx512_variant() { return {forward_range, backward_range}; }

}  // namespace pylatent::gated_fusion
