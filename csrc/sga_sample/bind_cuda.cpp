#include <pybind11/pybind11.h>

#include "sga_sample/sga_sample_cuda.h"

namespace py = pybind11;

namespace pylatent {

void bind_sga_sample_cuda(py::module_& m) {
  m.def("sga_sample_cuda_forward", &sga_sample_cuda_forward, py::arg("v"), py::arg("tau"), py::arg("noise"),
        py::arg("key"), py::arg("value"), py::arg("slope"), py::arg("count"), py::arg("method"), py::arg("classes"),
        py::arg("tau_value"), py::arg("a"), py::arg("r"), py::arg("n"), py::arg("dtype"), py::arg("device"),
        py::arg("stream"));
}

}  // namespace pylatent
