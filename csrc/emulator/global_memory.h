// Accesses to global memory: bounds and alignment of each, and races within a launch.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "emulator/accesses.h"
#include "emulator/fault.h"

namespace pylatent::emulator {

// The bytes that a launch may touch through one pointer.
struct Extent {
  const char* begin = nullptr;
  const char* end = nullptr;
};

// Checks an access by the running thread.
void check_global(const void* at, int bytes, const Extent& extent, Access kind, const Where& where);

// The granules of what a process's kernels have touched.
class GlobalMemory {
 public:
  void start_launch();  // bounds what is kept
  Granule& granule(uintptr_t address);

 private:
  static constexpr uintptr_t page_size = 4096;
  using Page = std::vector<Granule>;

  std::unordered_map<uintptr_t, Page> pages_;
  uintptr_t last_number_ = 0;
  Page* last_ = nullptr;
};

}  // namespace pylatent::emulator
