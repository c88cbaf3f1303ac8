// In which order rows are computed, so that few of them have to be kept.
//
// Latents are taken in some rows at a time; then every layer, in turn, computes the rows whose inputs are there.
// Nothing is computed twice, and what is kept does not grow with the height of the picture.
#pragma once

#include <cstdint>
#include <vector>

#include "integer_synthesis/synthesis_layer.h"
#include "integer_synthesis/synthesis_rows.h"

namespace pylatent::integers {

// Rows `first` to `last` - 1 of layer `layer`'s outputs, before they become more; layer -1 reads latents, and the one
// after the last writes pixels.
struct Step {
  int64_t layer, first, last;
};

struct Schedule {
  std::vector<Step> steps;
  std::vector<Size> sizes;          // of the inputs of each layer, and of the outputs of the last
  std::vector<int64_t> capacities;  // rows of them that must be kept
};

// band: rows of latents at a time.
Schedule make_schedule(const std::vector<Layer>& layers, Size latents, int64_t band);

}  // namespace pylatent::integers
