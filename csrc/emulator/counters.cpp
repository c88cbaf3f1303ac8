#include "emulator/counters.h"

#include <dlfcn.h>

#include <algorithm>

#include "emulator/block.h"

namespace pylatent::emulator {
namespace {

constexpr uint64_t sector = 32;

uint64_t mix(uint64_t seed, uint64_t value) {
  seed = (seed ^ value) * 0x9E3779B97F4A7C15u;
  return seed ^ seed >> 29;
}

uint32_t bytes_of_sector(uint64_t offset, int bytes) {
  return static_cast<uint32_t>((uint64_t{1} << bytes) - 1) << offset;
}

// The most different words of four bytes that one bank has to serve.
int64_t turns(std::vector<uint64_t>& words) {
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  int64_t of_bank[32] = {};
  for (const uint64_t word : words) ++of_bank[word % 32];
  return *std::max_element(of_bank, of_bank + 32);
}

int64_t popcount(const std::unordered_map<uint64_t, uint32_t>& sectors) {
  int64_t bytes = 0;
  for (const auto& entry : sectors) bytes += __builtin_popcount(entry.second);
  return bytes;
}

}  // namespace

Counters& counters() {
  static Counters counters;
  return counters;
}

void Counters::start_launch(const Launch& launch) {
  Dl_info module{};
  dladdr(launch.kernel, &module);
  const auto kernel = reinterpret_cast<uintptr_t>(launch.kernel) - reinterpret_cast<uintptr_t>(module.dli_fbase);
  const uint32_t threads = launch.block.x * launch.block.y * launch.block.z;
  const LaunchKey key{launch.name, kernel, threads, launch.shared_bytes};
  launched.insert(key);
  if (!on) return;
  counts_ = &by_kernel[key];
  ++counts_->launches;
  records_.assign((threads + 31) / 32, {});
  repetitions_.clear();
  read_.clear();
  written_.clear();
}

void Counters::note(const void* site, uint64_t address, int bytes, Space space, Access access, const Where& where) {
  const Lane& lane = *current;
  const uint64_t instruction = mix(mix(reinterpret_cast<uintptr_t>(site), lane.meetings), static_cast<uint64_t>(space));
  const uint32_t repetition = repetitions_[mix(instruction, lane.linear + 1)]++;
  records_[lane.warp()].push_back({mix(instruction, repetition), address, static_cast<uint8_t>(lane.linear % 32),
                                   static_cast<uint8_t>(bytes), space, access, where});
}

void Counters::note_global(const void* site, uintptr_t address, int bytes, Access access, const Where& where) {
  note(site, address, bytes, Space::global, access, where);
  const uint32_t touched = bytes_of_sector(address % sector, bytes);
  if (access != Access::write) read_[address / sector] |= touched;
  if (access != Access::read) written_[address / sector] |= touched;
}

void Counters::note_shared(const void* site, int64_t byte, int bytes, const Where& where) {
  note(site, static_cast<uint64_t>(byte), bytes, Space::shared, Access::read, where);
}

void Counters::note_ldmatrix(const int64_t* row_bytes, int matrices) {
  ++counts_->ldmatrix;
  std::vector<uint64_t> words;
  for (int m = 0; m < matrices; ++m) {
    words.clear();
    for (int row = 0; row < 8; ++row) {
      for (int i = 0; i < 4; ++i) words.push_back(static_cast<uint64_t>(row_bytes[8 * m + row]) / 4 + i);
    }
    counts_->ldmatrix_turns += turns(words);
    ++counts_->ldmatrix_turns_ideal;
  }
}

void Counters::count_global(const Record* first, const Record* last) {
  std::unordered_map<uint64_t, uint32_t> sectors;
  for (const Record* r = first; r != last; ++r) {
    sectors[r->address / sector] |= bytes_of_sector(r->address % sector, r->bytes);
  }
  const auto moved = static_cast<int64_t>(sectors.size());
  const int64_t bytes = popcount(sectors);
  LineCounts& line = counts_->lines[to_string(first->where)];
  line.global_sectors += moved;
  line.global_sectors_ideal += (bytes + int64_t{sector} - 1) / int64_t{sector};
  int64_t& total = first->access == Access::read    ? counts_->bytes_read
                   : first->access == Access::write ? counts_->bytes_written
                                                    : counts_->bytes_added;
  total += moved * int64_t{sector};
}

void Counters::count_shared(const Record* first, const Record* last) {
  const int lanes = first->bytes <= 4 ? 32 : first->bytes == 8 ? 16 : 8;
  LineCounts& line = counts_->lines[to_string(first->where)];
  std::vector<uint64_t> words;
  for (int from = 0; from < 32; from += lanes) {
    words.clear();
    for (const Record* r = first; r != last; ++r) {
      if (r->lane < from || r->lane >= from + lanes) continue;
      for (uint64_t word = r->address / 4; word <= (r->address + r->bytes - 1) / 4; ++word) words.push_back(word);
    }
    if (words.empty()) continue;
    line.shared_turns += turns(words);
    ++line.shared_turns_ideal;
  }
}

void Counters::end_block() {
  ++counts_->blocks;
  for (std::vector<Record>& records : records_) {
    std::stable_sort(records.begin(), records.end(),
                     [](const Record& a, const Record& b) { return a.request < b.request; });
    for (size_t i = 0, next; i < records.size(); i = next) {
      for (next = i + 1; next < records.size() && records[next].request == records[i].request;) ++next;
      if (records[i].space == Space::global) {
        count_global(&records[i], &records[i] + (next - i));
      } else {
        count_shared(&records[i], &records[i] + (next - i));
      }
    }
    records.clear();
  }
  repetitions_.clear();
}

void Counters::end_launch() { counts_->bytes_needed += popcount(read_) + popcount(written_); }

}  // namespace pylatent::emulator
