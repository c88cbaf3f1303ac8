#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "deform_conv2d/deform_conv2d_cuda.h"

namespace py = pybind11;

namespace pylatent {

void bind_deform_conv2d_cuda(py::module_& m) {
  m.def("deform_conv2d_cuda_forward", &deform_conv2d_cuda_forward, py::arg("input"), py::arg("offset"), py::arg("mask"),
        py::arg("weight"), py::arg("bias"), py::arg("output"), py::arg("shape"), py::arg("output_channels"),
        py::arg("output_strides"), py::arg("dtype"), py::arg("product"), py::arg("tile"), py::arg("device"),
        py::arg("stream"));
  m.def("deform_conv2d_cuda_backward", &deform_conv2d_cuda_backward, py::arg("grad_output"), py::arg("input"),
        py::arg("offset"), py::arg("mask"), py::arg("weight"), py::arg("scale"), py::arg("grad_input"),
        py::arg("grad_offset"), py::arg("grad_mask"), py::arg("shape"), py::arg("dtype"), py::arg("product"),
        py::arg("tile"), py::arg("device"), py::arg("stream"));
  m.def("deform_conv2d_cuda_backward_weight", &deform_conv2d_cuda_backward_weight, py::arg("grad_output"),
        py::arg("input"), py::arg("offset"), py::arg("mask"), py::arg("grad_weight"), py::arg("splits"),
        py::arg("shape"), py::arg("dtype"), py::arg("product"), py::arg("tile"), py::arg("device"), py::arg("stream"));
  m.def("deform_conv2d_cuda_weight_splits", &deform_conv2d_cuda_weight_splits, py::arg("shape"), py::arg("dtype"),
        py::arg("product"), py::arg("tile"), py::arg("device"));
}

}  // namespace pylatent
