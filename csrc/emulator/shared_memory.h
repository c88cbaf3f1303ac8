// The shared memory of a block, and what is known about every two bytes of it: whether they were written, who wrote and
// read them since the last barrier, and whether an asynchronous copy into them is under way.
#pragma once

#include <cstdint>
#include <vector>

#include "emulator/fault.h"

namespace pylatent::emulator {

struct Lane;

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

enum class Access { read, write, atomic };

class SharedMemory {
 public:
  void start_block(size_t bytes);
  void pass_barrier() { ++epoch_; }

  // Checks bounds, alignment, initialisation and races of an access by the running thread, and returns its address.
  unsigned char* access(int64_t byte, int bytes, Access kind, const Where& where);

  void start_copy(int64_t byte, const void* source, int bytes, const Where& where);
  void finish_copies(AsyncCopies& copies, int64_t groups_left);

 private:
  // epoch numbers count barriers over all blocks, so entries of earlier blocks need not be cleared.
  struct Granule {
    uint32_t written = 0;  // epoch of the last write, or in_flight
    uint32_t read = 0;     // epoch of the last read
    uint16_t writer = 0, reader = 0;
    uint16_t writer_sync = 0, reader_sync = 0;  // Warp::syncs at that time
  };
  static constexpr uint32_t in_flight = UINT32_MAX;
  static constexpr uint16_t thread_bits = 0x3ff;
  static constexpr uint16_t was_atomic = 0x400;     // in writer
  static constexpr uint16_t several_lanes = 0x400;  // in reader: other lanes of the warp, too
  static constexpr uint16_t several_warps = 0x800;  // in reader: other warps, too

  void check_range(int64_t byte, int bytes, const char* verb, const Where& where) const;
  void note_read(Granule& granule, int64_t byte, const Where& where);
  void note_write(Granule& granule, int64_t byte, bool atomic, const Where& where);
  [[noreturn]] void race(const char* now, const char* before, int other, int64_t byte, const Where& where) const;
  [[noreturn]] void touches_copy(const char* verb, int owner, int64_t byte, const Where& where) const;

  size_t bytes_ = 0;
  uint32_t epoch_ = 1, first_epoch_ = 1;
  std::vector<unsigned char> memory_;
  unsigned char* base_ = nullptr;
  std::vector<Granule> granules_;
};

}  // namespace pylatent::emulator
