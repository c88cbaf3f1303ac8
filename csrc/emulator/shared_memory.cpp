#include "emulator/shared_memory.h"

#include <cstring>

#include "emulator/block.h"
#include "emulator/settings.h"

namespace pylatent::emulator {
namespace {

constexpr size_t alignment = 128;
constexpr unsigned char poison = 0xFF;  // NaN in every floating-point type

std::string bytes_of(int64_t byte) { return "byte " + std::to_string(byte) + " of shared memory"; }

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
  first_epoch_ = ++epoch_;
}

void SharedMemory::check_range(int64_t byte, int bytes, const char* verb, const Where& where) const {
  if (byte < 0 || byte + bytes > static_cast<int64_t>(bytes_)) {
    fail(std::string(verb) + " bytes " + std::to_string(byte) + " to " + std::to_string(byte + bytes - 1) +
             " of shared memory, and the launch gave " + std::to_string(bytes_) + " bytes",
         where);
  }
  if (byte % bytes != 0) {
    fail(std::string(verb) + " " + std::to_string(bytes) + " bytes of shared memory at byte " + std::to_string(byte) +
             ", which is not a multiple of " + std::to_string(bytes),
         where);
  }
}

unsigned char* SharedMemory::access(int64_t byte, int bytes, Access kind, const Where& where) {
  check_range(byte, bytes, kind == Access::read ? "reads" : "writes", where);
  Granule* const first = &granules_[byte / 2];
  const int count = bytes < 2 ? 1 : bytes / 2;
  for (int i = 0; i < count; ++i) {
    if (kind == Access::read) {
      note_read(first[i], byte + 2 * i, where);
    } else {
      note_write(first[i], byte + 2 * i, kind == Access::atomic, where);
    }
  }
  return base_ + byte;
}

void SharedMemory::note_read(Granule& granule, int64_t byte, const Where& where) {
  const int thread = current->linear;
  const uint16_t syncs = current->block->warps[thread / 32].syncs;
  if (granule.written < first_epoch_) {
    fail("reads " + bytes_of(byte) + ", which no thread of this block has written", where);
  }
  if (granule.written >= epoch_) {
    const int writer = granule.writer & thread_bits;
    if (granule.written == in_flight) touches_copy("reads", writer, byte, where);
    const bool ordered = writer == thread || (writer / 32 == thread / 32 && granule.writer_sync != syncs);
    if (!ordered && settings().races) race("reads", "wrote", writer, byte, where);
  }
  if (granule.read != epoch_) {
    granule.read = epoch_;
    granule.reader = static_cast<uint16_t>(thread);
  } else {
    const int reader = granule.reader & thread_bits;
    if (reader == thread && granule.reader_sync == syncs) return;
    uint16_t others = granule.reader & (several_lanes | several_warps);
    if (reader / 32 != thread / 32) others |= several_warps;
    if (granule.reader_sync != syncs) {
      others &= several_warps;
    } else if (reader != thread) {
      others |= several_lanes;
    }
    granule.reader = static_cast<uint16_t>(thread | others);
  }
  granule.reader_sync = syncs;
}

void SharedMemory::note_write(Granule& granule, int64_t byte, bool atomic, const Where& where) {
  const int thread = current->linear;
  const uint16_t syncs = current->block->warps[thread / 32].syncs;
  if (granule.written >= epoch_) {
    const int writer = granule.writer & thread_bits;
    if (granule.written == in_flight) touches_copy("writes", writer, byte, where);
    const bool ordered = writer == thread || (writer / 32 == thread / 32 && granule.writer_sync != syncs) ||
                         (atomic && granule.writer & was_atomic);
    if (!ordered && settings().races) race("writes", "wrote", writer, byte, where);
  }
  if (granule.read == epoch_) {
    const int reader = granule.reader & thread_bits;
    const bool alone = reader == thread && !(granule.reader & several_lanes);
    const bool ordered =
        reader / 32 == thread / 32 && !(granule.reader & several_warps) && (alone || granule.reader_sync != syncs);
    if (!ordered && settings().races) race("writes", "read", reader, byte, where);
  }
  if (atomic && granule.written < first_epoch_) {
    fail("adds to " + bytes_of(byte) + ", which no thread of this block has written", where);
  }
  granule.written = epoch_;
  granule.writer = static_cast<uint16_t>(thread | (atomic ? was_atomic : 0));
  granule.writer_sync = syncs;
}

void SharedMemory::race(const char* now, const char* before, int other, int64_t byte, const Where& where) const {
  const Lane& lane = current->block->lanes[other];
  fail(std::string("race: ") + now + " " + bytes_of(byte) + ", which " + describe_thread(lane) + " " + before +
           " with no " + (other / 32 == current->linear / 32 ? "__syncwarp or __syncthreads" : "__syncthreads") +
           " in between",
       where);
}

void SharedMemory::touches_copy(const char* verb, int owner, int64_t byte, const Where& where) const {
  const Lane& lane = current->block->lanes[owner];
  for (const AsyncCopy& copy : lane.copies.waiting) {
    if (byte < copy.destination || byte >= copy.destination + copy.bytes) continue;
    fail(std::string(verb) + " " + bytes_of(byte) + ", into which the cp_async of " + describe_thread(lane) + " at " +
             to_string(copy.where) + " is still under way: it has not been waited for",
         where);
  }
  fail(std::string(verb) + " " + bytes_of(byte) + ", into which a cp_async was never waited for", where);
}

void SharedMemory::start_copy(int64_t byte, const void* source, int bytes, const Where& where) {
  unsigned char* const to = access(byte, bytes, Access::write, where);
  std::memset(to, poison, bytes);
  for (int64_t i = byte / 2; i < (byte + bytes) / 2; ++i) granules_[i].written = in_flight;
  current->copies.waiting.push_back({byte, source, bytes, current->copies.open_group, where});
}

void SharedMemory::finish_copies(AsyncCopies& copies, int64_t groups_left) {
  size_t landed = 0;
  const uint16_t syncs = current->block->warps[current->warp()].syncs;
  for (; landed < copies.waiting.size(); ++landed) {
    const AsyncCopy& copy = copies.waiting[landed];
    if (copy.group >= copies.open_group - groups_left) break;
    if (copy.source) {
      std::memcpy(base_ + copy.destination, copy.source, copy.bytes);
    } else {
      std::memset(base_ + copy.destination, 0, copy.bytes);
    }
    for (int64_t i = copy.destination / 2; i < (copy.destination + copy.bytes) / 2; ++i) {
      granules_[i].written = epoch_;
      granules_[i].writer_sync = syncs;
    }
  }
  copies.waiting.erase(copies.waiting.begin(), copies.waiting.begin() + landed);
}

}  // namespace pylatent::emulator
