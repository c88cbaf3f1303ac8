#include "emulator/shared_memory.h"

#include <cstring>

#include "emulator/block.h"
#include "emulator/counters.h"
#include "emulator/settings.h"

namespace pylatent::emulator {
namespace {

constexpr size_t alignment = 128;
constexpr unsigned char poison = 0xFF;  // NaN in every floating-point type

std::string name_of(int64_t byte) { return "byte " + std::to_string(byte) + " of shared memory"; }

}  // namespace

void SharedMemory::start_block(size_t bytes) {
  bytes_ = bytes;
  if (memory_.size() < bytes + alignment) {
    memory_.resize(bytes + alignment);
    const auto address = reinterpret_cast<uintptr_t>(memory_.data());
    base_ = memory_.data() + (alignment - address % alignment) % alignment;
    granules_.resize((bytes + alignment) / 2);
  }
  std::memset(base_, poison, bytes);
}

void SharedMemory::forget() { granules_.assign(granules_.size(), Granule{}); }

void SharedMemory::check_range(int64_t byte, int bytes, Access kind, const Where& where) const {
  if (byte < 0 || byte + bytes > static_cast<int64_t>(bytes_)) {
    fail(std::string(verb(kind)) + " bytes " + std::to_string(byte) + " to " + std::to_string(byte + bytes - 1) +
             " of shared memory, and the launch gave " + std::to_string(bytes_) + " bytes",
         where);
  }
  if (byte % bytes != 0) {
    fail(std::string(verb(kind)) + " " + std::to_string(bytes) + " bytes of shared memory at byte " +
             std::to_string(byte) + ", which is not a multiple of " + std::to_string(bytes),
         where);
  }
}

unsigned char* SharedMemory::access(int64_t byte, int bytes, Access kind, const Where& where) {
  if (counters().on) counters().note_shared(__builtin_return_address(0), byte, bytes, where);
  return checked(byte, bytes, kind, where);
}

unsigned char* SharedMemory::checked(int64_t byte, int bytes, Access kind, const Where& where) {
  check_range(byte, bytes, kind, where);
  const Clock& clock = current->block->clock;
  const Moment moment = this_moment();
  const int64_t last = (byte + bytes - 1) / 2;
  for (int64_t i = byte / 2; i <= last; ++i) {
    if (kind != Access::write && !granules_[i].written_since(clock.block)) {
      fail(std::string(verb(kind)) + " " + name_of(2 * i) + ", which no thread of this block has written", where);
    }
    const Conflict conflict = granules_[i].note(kind, clock, moment);
    if (conflict.kind == Conflict::copy_under_way) touches_copy(kind, conflict.thread, 2 * i, where);
    // Other blocks have shared memory of their own.
    if (conflict && conflict.same_block && settings().races) report_conflict(conflict, kind, name_of(2 * i), where);
  }
  return base_ + byte;
}

void SharedMemory::touches_copy(Access kind, int owner, int64_t byte, const Where& where) const {
  const Lane& lane = current->block->lanes[owner];
  std::string copy = "a cp_async of " + describe_thread(lane);
  for (const AsyncCopy& waiting : lane.copies.waiting) {
    if (byte < waiting.destination || byte >= waiting.destination + waiting.bytes) continue;
    copy = "the cp_async of " + describe_thread(lane) + " at " + to_string(waiting.where);
  }
  fail(std::string(verb(kind)) + " " + name_of(byte) + " before " + copy + " into it has been waited for", where);
}

void SharedMemory::start_copy(int64_t byte, const void* source, int bytes, const Where& where) {
  if (counters().on) counters().note_shared(__builtin_return_address(0), byte, bytes, where);
  unsigned char* const to = checked(byte, bytes, Access::write, where);
  std::memset(to, poison, bytes);
  for (int64_t i = byte / 2; i < (byte + bytes) / 2; ++i) granules_[i].start_copy();
  current->copies.waiting.push_back({byte, source, bytes, current->copies.open_group, where});
}

void SharedMemory::finish_copies(AsyncCopies& copies, int64_t groups_left) {
  const Moment moment = this_moment();
  size_t landed = 0;
  for (; landed < copies.waiting.size(); ++landed) {
    const AsyncCopy& copy = copies.waiting[landed];
    if (copy.group >= copies.open_group - groups_left) break;
    if (copy.source) {
      std::memcpy(base_ + copy.destination, copy.source, copy.bytes);
    } else {
      std::memset(base_ + copy.destination, 0, copy.bytes);
    }
    for (int64_t i = copy.destination / 2; i < (copy.destination + copy.bytes) / 2; ++i) {
      granules_[i].land_copy(current->block->clock, moment);
    }
  }
  copies.waiting.erase(copies.waiting.begin(), copies.waiting.begin() + landed);
}

}  // namespace pylatent::emulator
