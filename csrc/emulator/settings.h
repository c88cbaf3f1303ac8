// What the tests may set, through emulator/module.cpp.
#pragma once

#include <cstdint>

namespace pylatent::emulator {

struct Settings {
  uint64_t seed = 1;        // of the schedules
  uint64_t launches = 0;    // since the seed was set: each launch has a schedule of its own
  bool races = true;        // report races in shared memory
  int multiprocessors = 4;  // as the host code sees them
};

Settings& settings();

}  // namespace pylatent::emulator
