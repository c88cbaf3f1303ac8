// Compiled for every CPU of the platform.
#include "gated_fusion/gated_fusion_rows.h"

namespace pylatent::gated_fusion {

Variant scalar_variant() { return {forward_range, backward_range}; }

}  // namespace pylatent::gated_fusion
