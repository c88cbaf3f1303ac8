#include "emulator/bind.h"

#include <pybind11/pybind11.h>

#include "common/philox.h"
#include "kernels.h"

namespace py = pybind11;
namespace tests = pylatent::tests;

PYBIND11_MODULE(_emulator_kernels, m) {
  pylatent::emulator::bind_emulator(m);
  m.def("swap_pairs", &tests::swap_pairs);
  m.def("product", &tests::product);
  m.def("load_matrices", &tests::load_matrices);
  m.def("multiply", &tests::multiply);
  m.def("multiply_bytes", &tests::multiply_bytes);
  m.def("permute_bytes", &tests::permute_bytes);
  m.def("sum_rows", &tests::sum_rows);
  m.def("shuffles", &tests::shuffles);
  m.def("histogram", &tests::histogram);
  m.def("bug", &tests::bug);
  m.def("launch_with", &tests::launch_with);
  m.def("philox", [](uint64_t counter_lo, uint64_t counter_hi, uint32_t key_lo, uint32_t key_hi) {
    const auto words = pylatent::philox4x32(counter_lo, counter_hi, key_lo, key_hi);
    return py::make_tuple(words[0], words[1], words[2], words[3]);
  });
}
