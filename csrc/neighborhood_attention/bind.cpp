// neighborhood_attention for Python: addresses, strides and sizes; the GIL is released while computing.
#include "neighborhood_attention/neighborhood_attention_job.h"

namespace py = pybind11;

namespace pylatent {

void bind_neighborhood_attention(py::module_& m) {
  m.def(
      "neighborhood_attention_forward",
      [](const neighborhood::Sizes& sizes, const neighborhood::Strides& strides, float scale, int dtype,
         const neighborhood::ForwardAddresses& addresses, int threads) {
        neighborhood::forward(neighborhood::forward_job(sizes, strides, scale, dtype, addresses), threads);
      },
      py::call_guard<py::gil_scoped_release>());
  m.def(
      "neighborhood_attention_backward",
      [](const neighborhood::Sizes& sizes, const neighborhood::Strides& strides, float scale, int dtype,
         const neighborhood::BackwardAddresses& addresses, int threads) {
        neighborhood::backward(neighborhood::backward_job(sizes, strides, scale, dtype, addresses), threads);
      },
      py::call_guard<py::gil_scoped_release>());
}

}  // namespace pylatent
