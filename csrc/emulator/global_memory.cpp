#include "emulator/global_memory.h"

#include <string>

#include "emulator/block.h"
#include "emulator/counters.h"
#include "emulator/settings.h"

namespace pylatent::emulator {
namespace {

std::string name_of(int64_t byte, const Extent& extent) {
  return "byte " + std::to_string(byte) + " of a global array of " + std::to_string(extent.end - extent.begin) +
         " bytes";
}

[[noreturn]] void outside(int64_t byte, int bytes, const Extent& extent, Access kind, const Where& where) {
  if (extent.begin == extent.end) fail(std::string(verb(kind)) + " a global array that has no elements", where);
  fail(std::string(verb(kind)) + " bytes " + std::to_string(byte) + " to " + std::to_string(byte + bytes - 1) +
           " of a global array of " + std::to_string(extent.end - extent.begin) + " bytes",
       where);
}

}  // namespace

void GlobalMemory::start_launch() {
  constexpr size_t most_pages = 2048;
  if (pages_.size() <= most_pages) return;
  pages_.clear();
  last_ = nullptr;
}

Granule& GlobalMemory::granule(uintptr_t address) {
  const uintptr_t number = address / page_size;
  if (!last_ || number != last_number_) {
    Page& page = pages_[number];
    if (page.empty()) page.resize(page_size / 2);
    last_ = &page;
    last_number_ = number;
  }
  return (*last_)[address % page_size / 2];
}

void check_global(const void* at, int bytes, const Extent& extent, Access kind, const Where& where) {
  const auto address = reinterpret_cast<uintptr_t>(at);
  const auto byte = static_cast<int64_t>(address - reinterpret_cast<uintptr_t>(extent.begin));
  if (!extent.begin || byte < 0 || byte + bytes > extent.end - extent.begin) outside(byte, bytes, extent, kind, where);
  if (address % bytes != 0) {
    fail(std::string(verb(kind)) + " " + std::to_string(bytes) +
             " bytes of global memory at an address that is not a multiple of " + std::to_string(bytes),
         where);
  }
  if (counters().on) counters().note_global(__builtin_return_address(0), address, bytes, kind, where);
  if (!settings().races || bytes == 1) return;  // neighbouring bytes share a granule
  Block& block = *current->block;
  const Moment moment = this_moment();
  for (int i = 0; i < bytes; i += 2) {
    const Conflict conflict = block.global.granule(address + i).note(kind, block.clock, moment);
    if (conflict) report_conflict(conflict, kind, name_of(byte + i, extent), where);
  }
}

}  // namespace pylatent::emulator
