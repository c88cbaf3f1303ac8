// The names of the kernels for Python.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "integer_conv/conv_trial.h"
#include "integer_conv/conv_variants.h"

namespace pylatent {
void bind_integer_conv(pybind11::module_& m) {
  m.def("integer_variants", &integers::variants,
        "the kernels of integer convolutions that this machine can run, the fastest last");
  m.def(
      "integer_variant_is_faster",
      [](int candidate, int other) {
        return integers::is_faster(integers::kernels_of(candidate), integers::kernels_of(other));
      },
      pybind11::arg("candidate"), pybind11::arg("other"), pybind11::call_guard<pybind11::gil_scoped_release>(),
      "for the tests: what decides whether AMX is the last of integer_variants()");
}
}  // namespace pylatent
