// Who accessed which two bytes of memory since when, and whether that is a race.
//
// Time is counted in barriers: every __syncthreads that a block passes, and every start of a block, begins a new epoch,
// and epochs are never used twice. Within a warp, __syncwarp orders accesses too; shuffles, ldmatrix and mma do not.
#pragma once

#include <cstdint>
#include <string>

#include "emulator/fault.h"

namespace pylatent::emulator {

enum class Access { read, write, atomic };

struct Clock {
  uint32_t launch = 1, block = 1, now = 1;  // first epoch of the launch, of the block; this one

  void start_launch() { launch = block = ++now; }
  void start_block() { block = ++now; }
  void pass_barrier() { ++now; }
};

// A thread at a point of its program.
struct Moment {
  int thread;      // number in its block
  uint16_t syncs;  // Warp::syncs
};

struct Conflict {
  enum Kind { none, copy_under_way, wrote, read };
  Kind kind = none;
  int thread = 0;
  bool same_block = true;

  explicit operator bool() const { return kind != none; }
};

// What is remembered of two bytes. What belongs to earlier launches is out of date and need not be cleared.
class Granule {
 public:
  // Records an access; says with what it is not ordered.
  Conflict note(Access access, const Clock& clock, const Moment& by) {
    return access == Access::read ? note_read(clock, by) : note_write(access == Access::atomic, clock, by);
  }

  bool written_since(uint32_t epoch) const { return written_ >= epoch; }
  void start_copy() { written_ = in_flight; }
  void land_copy(const Clock& clock, const Moment& by) {
    written_ = clock.now;
    writer_sync_ = by.syncs;
  }

 private:
  static constexpr uint32_t in_flight = UINT32_MAX;
  static constexpr uint16_t thread_bits = 0x3ff;
  static constexpr uint16_t was_atomic = 0x400;                                                     // in writer_
  static constexpr uint16_t several_lanes = 0x400, several_warps = 0x800, several_blocks = 0x1000;  // in reader_

  Conflict note_read(const Clock& clock, const Moment& by);
  Conflict note_write(bool atomic, const Clock& clock, const Moment& by);
  Conflict with_writer(const Clock& clock, const Moment& by) const;
  Conflict with_readers(const Clock& clock, const Moment& by) const;

  uint32_t written_ = 0, read_ = 0;  // epochs of the last write, or in_flight, and of the last read
  uint16_t writer_ = 0, reader_ = 0;
  uint16_t writer_sync_ = 0, reader_sync_ = 0;
};

// Of the running thread: throws what `conflict` means for its access to `what`, "byte 8 of shared memory".
[[noreturn]] void report_conflict(const Conflict& conflict, Access access, const std::string& what, const Where& where);
Moment this_moment();
const char* verb(Access access);  // "reads"

}  // namespace pylatent::emulator
