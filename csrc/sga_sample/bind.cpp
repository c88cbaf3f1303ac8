// sga_sample for Python: addresses, sizes and dtype codes; the GIL is released while computing.
#include <pybind11/pybind11.h>

#include "sga_sample/sga_sample.h"

namespace py = pybind11;

namespace pylatent {

void bind_sga_sample(py::module_& m) {
  m.def(
      "sga_sample_forward",
      [](uintptr_t v, uintptr_t noise, uintptr_t key, uintptr_t value, uintptr_t slope, int64_t count, int method,
         int classes, float tau, float a, double r, float n, int dtype, int threads) {
        const SgaSettings settings{method,
                                   classes,
                                   tau,
                                   a,
                                   static_cast<float>(r),
                                   static_cast<float>(1 - r),
                                   n,
                                   reinterpret_cast<const float*>(noise),
                                   reinterpret_cast<const int64_t*>(key)};
        sga_sample_forward(settings, reinterpret_cast<const void*>(v), reinterpret_cast<void*>(value),
                           reinterpret_cast<float*>(slope), count, to_dtype(dtype), threads);
      },
      py::arg("v"), py::arg("noise"), py::arg("key"), py::arg("value"), py::arg("slope"), py::arg("count"),
      py::arg("method"), py::arg("classes"), py::arg("tau"), py::arg("a"), py::arg("r"), py::arg("n"), py::arg("dtype"),
      py::arg("threads"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace pylatent
