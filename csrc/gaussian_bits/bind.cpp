// gaussian_bits for Python: addresses, sizes and dtype codes; the GIL is released while computing.
#include <pybind11/pybind11.h>

#include "gaussian_bits/gaussian_bits.h"

namespace py = pybind11;

namespace pylatent {

void bind_gaussian_bits(py::module_& m) {
  m.def(
      "gaussian_bits_forward",
      [](uintptr_t q, uintptr_t scales, uintptr_t bits, int64_t count, int dtype, int threads) {
        gaussian_bits_forward(reinterpret_cast<const void*>(q), reinterpret_cast<const void*>(scales),
                              reinterpret_cast<float*>(bits), count, to_dtype(dtype), threads);
      },
      py::call_guard<py::gil_scoped_release>());
  m.def(
      "gaussian_bits_backward",
      [](uintptr_t grad, uintptr_t q, uintptr_t scales, uintptr_t grad_q, uintptr_t grad_scales, int64_t count,
         int dtype, int threads) {
        gaussian_bits_backward(reinterpret_cast<const float*>(grad), reinterpret_cast<const void*>(q),
                               reinterpret_cast<const void*>(scales), reinterpret_cast<void*>(grad_q),
                               reinterpret_cast<void*>(grad_scales), count, to_dtype(dtype), threads);
      },
      py::call_guard<py::gil_scoped_release>());
}

}  // namespace pylatent
