#include "neighborhood_attention/neighborhood_attention_cuda.h"
#include "neighborhood_attention/neighborhood_attention_job.h"

namespace py = pybind11;

namespace pylatent {

void bind_neighborhood_attention_cuda(py::module_& m) {
  m.def("neighborhood_attention_cuda_forward",
        [](const neighborhood::Sizes& sizes, const neighborhood::Strides& strides, float scale, int dtype,
           const neighborhood::ForwardAddresses& addresses, int device, uintptr_t stream) {
          neighborhood::cuda_forward(neighborhood::forward_job(sizes, strides, scale, dtype, addresses), device,
                                     stream);
        });
  m.def("neighborhood_attention_cuda_backward",
        [](const neighborhood::Sizes& sizes, const neighborhood::Strides& strides, float scale, int dtype,
           const neighborhood::BackwardAddresses& addresses, uintptr_t delta, uintptr_t sums, int device,
           uintptr_t stream) {
          neighborhood::cuda_backward(neighborhood::backward_job(sizes, strides, scale, dtype, addresses), delta, sums,
                                      device, stream);
        });
  m.def("neighborhood_attention_cuda_blocks", [](const neighborhood::Sizes& sizes) {
    return neighborhood::cuda_blocks(neighborhood::forward_job(sizes, {}, 1.0f, 0, {}));
  });
}

}  // namespace pylatent
