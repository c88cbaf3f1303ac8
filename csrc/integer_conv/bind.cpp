// The names of the kernels for Python.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "integer_conv/conv_variants.h"

namespace pylatent {
void bind_integer_conv(pybind11::module_& m) {
  m.def("integer_variants", &integers::variants,
        "the kernels of integer convolutions that this machine can run, the fastest last");
}
}  // namespace pylatent
