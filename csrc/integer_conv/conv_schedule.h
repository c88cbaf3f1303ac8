// In which order rows are computed, so that few of them have to be kept.
//
// Inputs are taken some rows at a time; then every layer, in turn, computes the rows whose inputs are there. Nothing is
// computed twice, and what is kept does not grow with the height of the picture.
#pragma once

#include <cstdint>
#include <vector>

#include "integer_conv/conv_layer.h"

namespace pylatent::integers {

// Rows `first` to `last` - 1 of layer `layer`'s tiles' pixels, before they become more; layer -1 reads the network's
// inputs, and the one after the last writes its results.
struct Step {
  int64_t layer, first, last;
};

struct Schedule {
  std::vector<Step> steps;
  std::vector<int64_t> capacities;  // rows of the inputs of each layer, and of the results, that must be kept
};

// sizes: of the inputs of each layer, and of the results. band: rows of inputs at a time.
Schedule make_schedule(const std::vector<Layer>& layers, const std::vector<Size>& sizes, int64_t band);

}  // namespace pylatent::integers
