// A layer whose activations may have any size within their limits.
//
// Products are of 16 bits and summed in 32. That no sum overflows is proved for each layer before it runs: max |a|
// times the largest L1 norm of the weights of an output, and |bias|, must stay below 2^31 - 2^10. Otherwise activations
// are split in two parts of some ten bits, whose sums meet in 64 bits; and layers whose weights are too large for that
// are summed in float64, which holds integers below 2^53.
#pragma once

#include "exact_conv/activations.h"
#include "exact_conv/exact_layer.h"

namespace pylatent::exact {

// variant: a place in integers::variants().
void convolve_any(const Layer& layer, const Activations& from, Activations& to, int threads, int variant);

}  // namespace pylatent::exact
