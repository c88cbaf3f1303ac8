// The torch-free native core of pylatent: one bind function per slice, nothing else.
#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace pylatent {
void bind_common(py::module_& m);
void bind_deform_conv2d(py::module_& m);
void bind_exact_conv(py::module_& m);
void bind_gated_fusion(py::module_& m);
void bind_gaussian_bits(py::module_& m);
void bind_integer_synthesis(py::module_& m);
void bind_rans_compat(py::module_& m);
void bind_rans(py::module_& m);
void bind_sga(py::module_& m);
#ifdef PYLATENT_WITH_CUDA
#define PYLATENT_CUDA_OP(op) void bind_##op##_cuda(py::module_& m);
#include "cuda_ops.inc"
#undef PYLATENT_CUDA_OP
#endif
}  // namespace pylatent

PYBIND11_MODULE(_C, m) {
  m.doc() = "pylatent's native core (internal; use the Python functions)";
  pylatent::bind_common(m);
  pylatent::bind_deform_conv2d(m);
  pylatent::bind_exact_conv(m);
  pylatent::bind_gated_fusion(m);
  pylatent::bind_gaussian_bits(m);
  pylatent::bind_integer_synthesis(m);
  pylatent::bind_rans_compat(m);
  pylatent::bind_rans(m);
  pylatent::bind_sga(m);
#ifdef PYLATENT_WITH_CUDA
#define PYLATENT_CUDA_OP(op) pylatent::bind_##op##_cuda(m);
#include "cuda_ops.inc"
#undef PYLATENT_CUDA_OP
#endif
}
