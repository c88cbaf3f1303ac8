// What a module of emulated kernels offers besides them: the settings of the emulator.
#pragma once

#include <pybind11/pybind11.h>

namespace pylatent::emulator {

void bind_emulator(pybind11::module_& m);

}  // namespace pylatent::emulator
