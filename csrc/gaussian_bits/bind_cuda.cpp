#include <pybind11/pybind11.h>

#include "gaussian_bits/gaussian_bits_cuda.h"

namespace py = pybind11;

namespace pylatent {

void bind_gaussian_bits_cuda(py::module_& m) {
  m.def("gaussian_bits_cuda_forward", &gaussian_bits_cuda_forward);
  m.def("gaussian_bits_cuda_backward", &gaussian_bits_cuda_backward);
}

}  // namespace pylatent
