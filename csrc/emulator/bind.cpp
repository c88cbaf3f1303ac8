#include "emulator/bind.h"

#include "common/checks.h"
#include "emulator/fault.h"
#include "emulator/settings.h"

namespace py = pybind11;

namespace pylatent::emulator {

void bind_emulator(py::module_& m) {
  py::register_local_exception<Fault>(m, "Fault", PyExc_RuntimeError);
  m.def(
      "set_seed",
      [](uint64_t seed) {
        settings().seed = seed;
        settings().launches = 0;
      },
      py::arg("seed"), "of the schedules from now on");
  m.def("set_races", [](bool report) { settings().races = report; }, py::arg("report"));
  m.def(
      "set_multiprocessors",
      [](int count) {
        check_range("count", count, 1, 1024);
        settings().multiprocessors = count;
      },
      py::arg("count"), "what multiprocessor_count() says");
}

}  // namespace pylatent::emulator
