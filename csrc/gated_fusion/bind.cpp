// The elementwise passes of the gated fusion on the CPU, for pylatent/ops/gated_fusion.py.
#include <pybind11/pybind11.h>

#include "common/checks.h"
#include "gated_fusion/gated_fusion.h"

namespace py = pybind11;

namespace pylatent {
namespace {

void* pointer(uintptr_t address) { return reinterpret_cast<void*>(address); }

gated_fusion::Shape shape(int64_t rows, int64_t columns, int64_t channels, bool channels_last) {
  check_range("rows", rows, 0, INT64_MAX);
  check_range("columns", columns, 0, INT64_MAX);
  check_equal("channels", channels_last ? columns : channels, channels);
  return {rows, columns, channels, channels_last};
}

void gated_fusion_forward(uintptr_t u, uintptr_t v, int work, uintptr_t bias_u, uintptr_t bias_v, uintptr_t out,
                          uintptr_t gate, int dtype, int64_t rows, int64_t columns, int64_t channels,
                          bool channels_last, int threads) {
  const gated_fusion::Forward job{pointer(u),      pointer(v),      pointer(bias_u),
                                  pointer(bias_v), pointer(out),    pointer(gate),
                                  to_dtype(work),  to_dtype(dtype), shape(rows, columns, channels, channels_last)};
  py::gil_scoped_release release;
  gated_fusion::forward(job, threads);
}

// u = sigmoid(v) u for arrays of one dtype and layout, as rows of whole vectors where that is possible.
void gated_fusion_gate(uintptr_t u, uintptr_t v, int dtype, int64_t count, int threads) {
  const int64_t rows = count % 256 == 0 ? 16 : 1;
  const gated_fusion::Forward job{pointer(u),      pointer(v),      nullptr,
                                  nullptr,         pointer(u),      nullptr,
                                  to_dtype(dtype), to_dtype(dtype), shape(rows, count / rows, 1, false)};
  py::gil_scoped_release release;
  gated_fusion::forward(job, threads);
}

void gated_fusion_backward(uintptr_t grad, uintptr_t out, uintptr_t gate, int dtype, uintptr_t grad_u, uintptr_t grad_v,
                           int work, uintptr_t sums, int64_t blocks, int64_t rows, int64_t columns, int64_t channels,
                           bool channels_last, int threads) {
  check_range("blocks", blocks, sums == 0 ? 0 : 1, INT64_MAX);
  const gated_fusion::Backward job{
      pointer(grad), pointer(out), pointer(gate),  pointer(grad_u), pointer(grad_v),
      pointer(sums), blocks,       to_dtype(work), to_dtype(dtype), shape(rows, columns, channels, channels_last)};
  py::gil_scoped_release release;
  gated_fusion::backward(job, threads);
}

}  // namespace

void bind_gated_fusion(py::module_& m) {
  m.def("gated_fusion_forward", &gated_fusion_forward);
  m.def("gated_fusion_gate", &gated_fusion_gate);
  m.def("gated_fusion_backward", &gated_fusion_backward);
}

}  // namespace pylatent
