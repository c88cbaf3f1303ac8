// The CUDA kernels of the gated fusion, for pylatent/ops/_gated_fusion_cuda.py.
#include <pybind11/pybind11.h>

#include "common/checks.h"
#include "gated_fusion/gated_fusion_cuda.h"

namespace py = pybind11;

namespace pylatent {
namespace {

constexpr int64_t kMost = INT64_C(1) << 30;  // of channels, pixels and tiles: indices in the kernels are 32 bits wide

void gated_fusion_cuda_forward(uintptr_t y, uintptr_t s, uintptr_t weight_y, uintptr_t weight_s, uintptr_t bias_y,
                               uintptr_t bias_s, uintptr_t out, uintptr_t gate, int dtype, int64_t batch,
                               int64_t channels_y, int64_t channels_s, int64_t channels, int64_t pixels,
                               bool channels_last, bool tf32, int device, uintptr_t stream) {
  check_range("y.shape[1]", channels_y, 0, kMost);
  check_range("s.shape[1]", channels_s, 0, kMost);
  check_range("weight_y.shape[0]", channels, 0, kMost);
  check_range("pixels of y", batch * pixels, 0, kMost);
  gated_fusion::cuda_forward({y, s, weight_y, weight_s, bias_y, bias_s, out, gate, to_dtype(dtype), batch, channels_y,
                              channels_s, channels, pixels, channels_last, tf32},
                             device, stream);
}

void gated_fusion_cuda_gate(uintptr_t u, uintptr_t v, uintptr_t bias_y, uintptr_t bias_s, bool keep, int dtype,
                            int64_t batch, int64_t channels, int64_t pixels, bool channels_last, int device,
                            uintptr_t stream) {
  check_range("weight_y.shape[0]", channels, 0, kMost);
  check_range("pixels of y", batch * pixels, 0, kMost);
  gated_fusion::cuda_gate({u, v, bias_y, bias_s, keep, to_dtype(dtype), batch, channels, pixels, channels_last}, device,
                          stream);
}

void gated_fusion_cuda_backward(uintptr_t grad, uintptr_t out, uintptr_t gate, uintptr_t grad_u, uintptr_t grad_v,
                                uintptr_t sums, int64_t blocks, int dtype, int64_t batch, int64_t channels,
                                int64_t pixels, bool channels_last, int device, uintptr_t stream) {
  check_range("rows of out", batch * (channels_last ? pixels : channels), 0, kMost);
  check_range("columns of out", channels_last ? channels : pixels, 0, kMost);
  gated_fusion::cuda_backward(
      {grad, out, gate, grad_u, grad_v, sums, blocks, to_dtype(dtype), batch, channels, pixels, channels_last}, device,
      stream);
}

py::tuple gated_fusion_cuda_tile(int64_t channels, int64_t pixels, int multiprocessors) {
  check_range("multiprocessors", multiprocessors, 1, INT32_MAX);
  const gated_fusion::TileSize size = gated_fusion::cuda_tile(channels, pixels, multiprocessors);
  return py::make_tuple(size.channels, size.pixels);
}

}  // namespace

void bind_gated_fusion_cuda(py::module_& m) {
  m.def("gated_fusion_cuda_forward", &gated_fusion_cuda_forward);
  m.def("gated_fusion_cuda_gate", &gated_fusion_cuda_gate);
  m.def("gated_fusion_cuda_backward", &gated_fusion_cuda_backward);
  m.def("gated_fusion_cuda_tile", &gated_fusion_cuda_tile, py::arg("channels"), py::arg("pixels"),
        py::arg("multiprocessors"), "channels and pixels that a block of the forward kernel computes");
}

}  // namespace pylatent
