// launch() of the emulator, and the host calls that a launcher makes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>

#include "emulator/block.h"
#include "emulator/settings.h"

namespace pylatent {
namespace emulator {

void run_launch(const Launch& launch);

template <class... Parameters>
struct Call {
  void (*kernel)(Parameters...);
  std::tuple<Parameters...> arguments;

  static void run(const void* call) {
    const auto& self = *static_cast<const Call*>(call);
    std::apply(self.kernel, self.arguments);
  }
};

}  // namespace emulator

template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, uintptr_t,
            const Arguments&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument per parameter of the kernel");
  const emulator::Call<Parameters...> call{kernel, {static_cast<Parameters>(arguments)...}};
  emulator::run_launch({name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes,
                        &emulator::Call<Parameters...>::run, &call});
}

class DeviceGuard {
 public:
  explicit DeviceGuard(int) {}
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;
};

inline int multiprocessor_count(int) { return emulator::settings().multiprocessors; }

}  // namespace pylatent
