// The torch-free native core of pylatent: every slice's bind function, in the order of CMakeLists.txt.
#include <pybind11/pybind11.h>

namespace pylatent {
#define PYLATENT_SLICE(slice) void bind_##slice(pybind11::module_& m);
#include "slices.inc"
#undef PYLATENT_SLICE
#define PYLATENT_CUDA_SLICE(slice) void bind_##slice##_cuda(pybind11::module_& m);
#include "cuda_slices.inc"
#undef PYLATENT_CUDA_SLICE
}  // namespace pylatent

PYBIND11_MODULE(_C, m) {
  m.doc() = "pylatent's native core (internal; use the Python functions)";
#define PYLATENT_SLICE(slice) pylatent::bind_##slice(m);
#include "slices.inc"
#undef PYLATENT_SLICE
#ifdef PYLATENT_WITH_CUDA
#define PYLATENT_CUDA_SLICE(slice) pylatent::bind_##slice##_cuda(m);
#include "cuda_slices.inc"
#undef PYLATENT_CUDA_SLICE
#endif
}
