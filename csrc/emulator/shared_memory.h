// The shared memory of a block: bounds, initialisation, races, and asynchronous copies that land at their wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "emulator/accesses.h"
#include "emulator/fault.h"

namespace pylatent::emulator {

struct AsyncCopy {
  int64_t destination;  // byte of shared memory
  const void* source;   // null: zeros
  int bytes;
  int64_t group;
  Where where;
};

// The copies of one thread that have not landed, oldest first.
struct AsyncCopies {
  std::vector<AsyncCopy> waiting;
  int64_t open_group = 0;  // groups committed so far

  void clear() {
    waiting.clear();
    open_group = 0;
  }
};

class SharedMemory {
 public:
  void start_block(size_t bytes);
  void forget();  // after a block that did not end, with copies under way

  // Checks an access by the running thread and returns its address. access() counts it, too.
  unsigned char* access(int64_t byte, int bytes, Access kind, const Where& where);
  unsigned char* checked(int64_t byte, int bytes, Access kind, const Where& where);

  void start_copy(int64_t byte, const void* source, int bytes, const Where& where);
  void finish_copies(AsyncCopies& copies, int64_t groups_left);

 private:
  void check_range(int64_t byte, int bytes, Access kind, const Where& where) const;
  [[noreturn]] void touches_copy(Access kind, int owner, int64_t byte, const Where& where) const;

  size_t bytes_ = 0;
  std::vector<unsigned char> memory_;
  unsigned char* base_ = nullptr;
  std::vector<Granule> granules_;
};

}  // namespace pylatent::emulator
