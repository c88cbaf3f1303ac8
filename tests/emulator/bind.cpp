#include "emulator/bind.h"

#include <pybind11/pybind11.h>

#include "kernels.h"

namespace tests = pylatent::tests;

PYBIND11_MODULE(_emulator_kernels, m) {
  pylatent::emulator::bind_emulator(m);
  m.def("swap_pairs", &tests::swap_pairs);
}
