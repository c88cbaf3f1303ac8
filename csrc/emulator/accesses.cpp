#include "emulator/accesses.h"

#include "emulator/block.h"

namespace pylatent::emulator {

Conflict Granule::with_writer(const Clock& clock, const Moment& by) const {
  if (written_ < clock.launch || (written_ >= clock.block && written_ < clock.now)) return {};
  const int thread = writer_ & thread_bits;
  if (written_ == in_flight) return {Conflict::copy_under_way, thread, true};
  if (written_ < clock.block) return {Conflict::wrote, thread, false};
  if (thread == by.thread || (thread / 32 == by.thread / 32 && writer_sync_ != by.syncs)) return {};
  return {Conflict::wrote, thread, true};
}

Conflict Granule::with_readers(const Clock& clock, const Moment& by) const {
  if (read_ < clock.launch) return {};
  const int thread = reader_ & thread_bits;
  if (read_ < clock.block || reader_ & several_blocks) return {Conflict::read, thread, false};
  if (read_ < clock.now) return {};
  if (reader_ & several_warps || thread / 32 != by.thread / 32) return {Conflict::read, thread, true};
  if (reader_sync_ != by.syncs || (thread == by.thread && !(reader_ & several_lanes))) return {};
  return {Conflict::read, thread, true};
}

Conflict Granule::note_read(const Clock& clock, const Moment& by) {
  const Conflict conflict = with_writer(clock, by);
  uint16_t others = 0;
  if (read_ >= clock.launch) {
    const int thread = reader_ & thread_bits;
    others = reader_ & several_blocks;
    if (read_ < clock.block) others |= several_blocks;
    if (read_ == clock.now) {
      others |= reader_ & several_warps;
      if (thread / 32 != by.thread / 32) others |= several_warps;
      if (reader_sync_ == by.syncs && (thread != by.thread || reader_ & several_lanes)) others |= several_lanes;
    }
  }
  read_ = clock.now;
  reader_ = static_cast<uint16_t>(by.thread | others);
  reader_sync_ = by.syncs;
  return conflict;
}

Conflict Granule::note_write(bool atomic, const Clock& clock, const Moment& by) {
  Conflict conflict = with_writer(clock, by);
  if (conflict.kind == Conflict::wrote && atomic && writer_ & was_atomic) conflict = {};
  if (!conflict) conflict = with_readers(clock, by);
  written_ = clock.now;
  writer_ = static_cast<uint16_t>(by.thread | (atomic ? was_atomic : 0));
  writer_sync_ = by.syncs;
  return conflict;
}

Moment this_moment() { return {current->linear, current->block->warps[current->warp()].syncs}; }

const char* verb(Access access) {
  return access == Access::read ? "reads" : access == Access::write ? "writes" : "adds to";
}

void report_conflict(const Conflict& conflict, Access access, const std::string& what, const Where& where) {
  std::string text = std::string("race: ") + verb(access) + " " + what + ", which ";
  const char* const before = conflict.kind == Conflict::read ? " read" : " wrote";
  if (!conflict.same_block) fail(text + "a thread of another block" + before + " in this launch", where);
  text += describe_thread(current->block->lanes[conflict.thread]) + before + " with no ";
  if (conflict.thread / 32 == current->warp()) text += "__syncwarp or ";
  fail(text + "__syncthreads in between", where);
}

}  // namespace pylatent::emulator
