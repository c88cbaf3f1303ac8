// The test module _emulated: the CUDA launchers of every operator, on the emulator. Never installed.
#include <pybind11/pybind11.h>

#include "emulator/bind.h"

namespace pylatent {
#define PYLATENT_CUDA_SLICE(slice) void bind_##slice##_cuda(pybind11::module_& m);
#include "cuda_slices.inc"
#undef PYLATENT_CUDA_SLICE
}  // namespace pylatent

PYBIND11_MODULE(_emulated, m) {
  m.doc() = "pylatent's CUDA kernels on the CPU, for tests";
  pylatent::emulator::bind_emulator(m);
#define PYLATENT_CUDA_SLICE(slice) pylatent::bind_##slice##_cuda(m);
#include "cuda_slices.inc"
#undef PYLATENT_CUDA_SLICE
}
