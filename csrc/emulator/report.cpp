// The texts of reports: where, who, and what is waited for.
#include <algorithm>
#include <cstring>
#include <map>

#include "emulator/block.h"

namespace pylatent::emulator {
namespace {

std::string triple(unsigned x, unsigned y, unsigned z) {
  return "(" + std::to_string(x) + ", " + std::to_string(y) + ", " + std::to_string(z) + ")";
}

}  // namespace

std::string to_string(const Where& where) {
  if (!where.file) return "an unknown place";
  const char* slash = std::strrchr(where.file, '/');
  return std::string(slash ? slash + 1 : where.file) + ":" + std::to_string(where.line);
}

std::string describe_block(const Block& block) {
  return "kernel `" + std::string(block.launch->name) + "`, block " +
         triple(block.index.x, block.index.y, block.index.z);
}

std::string describe_thread(const Lane& lane) {
  return "thread " + triple(lane.thread.x, lane.thread.y, lane.thread.z);
}

std::string describe_lanes(uint32_t lanes, int first) {
  std::string text;
  for (int i = 0; i < 32; ++i) {
    if (!(lanes >> i & 1)) continue;
    int last = i;
    while (last < 31 && lanes >> (last + 1) & 1) ++last;
    text += (text.empty() ? "" : ", ") + std::to_string(first + i);
    if (last > i) text += "-" + std::to_string(first + last);
    i = last;
  }
  return text;
}

void fail(const std::string& what, const Where& where) {
  const std::string place = where.file ? " at " + to_string(where) : "";
  if (!current) throw Fault(what + place);
  throw Fault(describe_block(*current->block) + ", " + describe_thread(*current) + place + ": " + what);
}

std::string describe_deadlock(const Block& block, int threads) {
  std::string text = describe_block(block) + ": deadlock, no thread can go on";
  for (int warp = 0; warp < (threads + 31) / 32; ++warp) {
    std::map<std::string, uint32_t> groups;
    for (int i = warp * 32; i < std::min(threads, warp * 32 + 32); ++i) {
      const Lane& lane = block.lanes[i];
      std::string waits = "have returned";
      if (lane.state == Lane::State::at_barrier) waits = "wait at __syncthreads (" + to_string(lane.where) + ")";
      if (lane.state == Lane::State::at_collective) {
        uint32_t missing = 0;
        for (uint32_t rest = lane.mask; rest; rest &= rest - 1) {
          const int j = __builtin_ctz(rest);
          const Lane& other = block.lanes[warp * 32 + j];
          if (other.state != lane.state || other.waits != lane.waits || other.mask != lane.mask) missing |= 1u << j;
        }
        waits = "wait at " + std::string(lane.waits->name) + " (" + to_string(lane.where) + ") for thread" +
                (missing & (missing - 1) ? "s " : " ") + describe_lanes(missing, warp * 32);
      }
      groups[waits] |= lane.bit();
    }
    text += "\n  warp " + std::to_string(warp) + ":";
    const char* separator = " ";
    for (const auto& [waits, lanes] : groups) {
      text += separator + ("threads " + describe_lanes(lanes, warp * 32)) + " " + waits;
      separator = "; ";
    }
  }
  return text;
}

}  // namespace pylatent::emulator
