// Layers of exact networks as Python gives them.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <vector>

#include "common/checks.h"
#include "exact_conv/exact_conv.h"

namespace pylatent::exact {

// layers: (weight, bias, stride, padding, output_padding, transposed, slope). Throws std::invalid_argument.
std::vector<LayerWeights> make_layers(const pybind11::list& layers);

}  // namespace pylatent::exact
