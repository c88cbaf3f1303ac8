#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "deform_conv2d/deform_conv2d_cuda.h"

namespace py = pybind11;

namespace pylatent {

void bind_deform_conv2d_cuda(py::module_& m) {
  using Pixels = std::array<int64_t, 2>;
  using Dtypes = std::array<int, 3>;
  m.def(
      "deform_conv2d_cuda_gather",
      [](uintptr_t input, uintptr_t offset, uintptr_t mask, uintptr_t columns, const DeformConv2dShape& shape,
         const Pixels& pixels, const Dtypes& dtypes, int device, uintptr_t stream) {
        deform_conv2d_cuda_gather(input, offset, mask, columns, {shape, pixels, dtypes, device, stream});
      },
      py::arg("input"), py::arg("offset"), py::arg("mask"), py::arg("columns"), py::arg("shape"), py::arg("pixels"),
      py::arg("dtypes"), py::arg("device"), py::arg("stream"));
  m.def(
      "deform_conv2d_cuda_scatter",
      [](uintptr_t input, uintptr_t offset, uintptr_t mask, uintptr_t columns, bool keep, uintptr_t scale,
         uintptr_t grad_input, uintptr_t grad_offset, uintptr_t grad_mask, const DeformConv2dShape& shape,
         const Pixels& pixels, const Dtypes& dtypes, int device, uintptr_t stream) {
        deform_conv2d_cuda_scatter(input, offset, mask, columns, keep, scale, grad_input, grad_offset, grad_mask,
                                   {shape, pixels, dtypes, device, stream});
      },
      py::arg("input"), py::arg("offset"), py::arg("mask"), py::arg("columns"), py::arg("keep"), py::arg("scale"),
      py::arg("grad_input"), py::arg("grad_offset"), py::arg("grad_mask"), py::arg("shape"), py::arg("pixels"),
      py::arg("dtypes"), py::arg("device"), py::arg("stream"));
}

}  // namespace pylatent
