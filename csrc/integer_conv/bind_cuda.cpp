// Integer convolutions on CUDA for Python: jobs as numbers, tensors as addresses.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>

#include "integer_conv/conv_cuda.h"

namespace py = pybind11;

namespace pylatent {
namespace {

using ConvNumbers = std::array<int, 17>;
using ConvPhases = std::vector<std::array<int, 9>>;
using ConvAddresses = std::array<uintptr_t, 7>;
using ImageNumbers = std::array<int64_t, 5>;

void run_conv_cuda(const ConvNumbers& n, const ConvPhases& phases, const ConvAddresses& a, int device,
                   uintptr_t stream) {
  const integers::CudaConv job{n[0], n[1],  n[2],  n[3],  n[4],  n[5],  n[6],  n[7], n[8],
                               n[9], n[10], n[11], n[12], n[13], n[14], n[15], n[16]};
  std::vector<integers::CudaPhase> made;
  for (const auto& p : phases) made.push_back({p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8]});
  integers::conv_cuda(job, made, {a[0], a[1], a[2], a[3], a[4], a[5], a[6]}, device, stream);
}

integers::CudaImages images_of(const ImageNumbers& n) { return {n[0], n[1], n[2], n[3], n[4]}; }

}  // namespace

void bind_integer_conv_cuda(py::module_& m) {
  m.def("integer_conv_cuda", &run_conv_cuda);
  m.def("integer_conv_cuda_read_latents", [](const ImageNumbers& images, uintptr_t latents, uintptr_t gains,
                                             int64_t largest, uintptr_t out, int device, uintptr_t stream) {
    integers::read_latents_cuda(images_of(images), latents, gains, largest, out, device, stream);
  });
  m.def("integer_conv_cuda_read_values",
        [](const ImageNumbers& images, uintptr_t values, uintptr_t out, int device, uintptr_t stream) {
          integers::read_values_cuda(images_of(images), values, out, device, stream);
        });
}

}  // namespace pylatent
