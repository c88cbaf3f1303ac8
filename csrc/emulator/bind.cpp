#include "emulator/bind.h"

#include "common/checks.h"
#include "emulator/counters.h"
#include "emulator/fault.h"
#include "emulator/settings.h"

namespace py = pybind11;

namespace pylatent::emulator {

namespace {

// A list of one dict a kernel, shape of block and size of shared memory.
py::list counts() {
  py::list out;
  for (const auto& [key, counts] : counters().by_kernel) {
    py::dict entry;
    entry["name"] = key.name;
    entry["kernel"] = key.kernel;
    entry["threads"] = key.threads;
    entry["shared_bytes"] = key.shared_bytes;
    entry["launches"] = counts.launches;
    entry["blocks"] = counts.blocks;
    entry["bytes_read"] = counts.bytes_read;
    entry["bytes_written"] = counts.bytes_written;
    entry["bytes_added"] = counts.bytes_added;
    entry["bytes_needed"] = counts.bytes_needed;
    LineCounts all;
    py::dict lines;
    for (const auto& [place, line] : counts.lines) {
      lines[py::str(place)] =
          py::make_tuple(line.global_sectors, line.global_sectors_ideal, line.shared_turns, line.shared_turns_ideal);
      all.global_sectors += line.global_sectors;
      all.global_sectors_ideal += line.global_sectors_ideal;
      all.shared_turns += line.shared_turns;
      all.shared_turns_ideal += line.shared_turns_ideal;
    }
    entry["lines"] = lines;
    entry["global_sectors"] = all.global_sectors;
    entry["global_sectors_ideal"] = all.global_sectors_ideal;
    entry["shared_turns"] = all.shared_turns;
    entry["shared_turns_ideal"] = all.shared_turns_ideal;
    entry["ldmatrix_turns"] = counts.ldmatrix_turns;
    entry["ldmatrix_turns_ideal"] = counts.ldmatrix_turns_ideal;
    entry["ldmatrix"] = counts.ldmatrix;
    entry["mma_16bit"] = counts.mma_16bit;
    entry["mma_tf32"] = counts.mma_tf32;
    entry["mma_bytes"] = counts.mma_bytes;
    out.append(entry);
  }
  return out;
}

}  // namespace

void bind_emulator(py::module_& m) {
  // No RuntimeError, which operators raise where there is no kernel: a test that skips then must not skip a fault.
  py::register_local_exception<Fault>(m, "Fault");
  m.def(
      "set_seed",
      [](uint64_t seed) {
        settings().seed = seed;
        settings().launches = 0;
      },
      py::arg("seed"), "of the schedules from now on");
  m.def("set_races", [](bool report) { settings().races = report; }, py::arg("report"));
  m.def("count", [](bool on) { counters().on = on; }, py::arg("on"), "count what kernels do from now on, or stop");
  m.def("counters", &counts, "what was counted (emulator/counters.h)");
  m.def(
      "launched",
      [] {
        py::list out;
        for (const LaunchKey& key : counters().launched) {
          out.append(py::make_tuple(key.name, key.kernel, key.threads, key.shared_bytes));
        }
        return out;
      },
      "(name, address in the module, threads of a block, bytes of shared memory) of all launches so far");
  m.def("reset_counters", [] { counters().by_kernel.clear(); });
  m.def(
      "set_multiprocessors",
      [](int count) {
        check_range("count", count, 1, 1024);
        settings().multiprocessors = count;
      },
      py::arg("count"), "what multiprocessor_count() says");
}

}  // namespace pylatent::emulator
