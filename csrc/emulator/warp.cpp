#include "emulator/warp.h"

#include "emulator/block.h"

namespace pylatent::emulator {
namespace {

struct Exchange {
  uint64_t bits;
  int source;
};

void complete_shuffle(void* const* payloads, uint32_t lanes) {
  uint64_t bits[32];
  for (int i = 0; i < 32; ++i)
    bits[i] = lanes >> i & 1 ? static_cast<const Exchange*>(payloads[i])->bits : ~uint64_t{0};
  for (int i = 0; i < 32; ++i) {
    if (!(lanes >> i & 1)) continue;
    auto& exchange = *static_cast<Exchange*>(payloads[i]);
    exchange.bits = bits[exchange.source];
  }
}

void complete_ballot(void* const* payloads, uint32_t lanes) {
  uint64_t votes = 0;
  for (int i = 0; i < 32; ++i) {
    if (lanes >> i & 1) votes |= static_cast<const Exchange*>(payloads[i])->bits << i;
  }
  for (int i = 0; i < 32; ++i) {
    if (lanes >> i & 1) static_cast<Exchange*>(payloads[i])->bits = votes;
  }
}

void complete_sync(void* const*, uint32_t) { ++current->block->warps[current->warp()].syncs; }

constexpr Collective shuffles[] = {{"__shfl_sync", false, complete_shuffle},
                                   {"__shfl_xor_sync", false, complete_shuffle},
                                   {"__shfl_down_sync", false, complete_shuffle},
                                   {"__shfl_up_sync", false, complete_shuffle}};
constexpr Collective vote{"__ballot_sync", false, complete_ballot};
constexpr Collective sync{"__syncwarp", false, complete_sync};

}  // namespace

uint64_t shuffle(Shuffle kind, uint32_t mask, uint64_t bits, int operand, int width, const Where& where) {
  if (width < 1 || width > 32 || (width & (width - 1)) != 0) {
    fail("a shuffle of width " + std::to_string(width) + ", which is no power of two up to 32", where);
  }
  const int lane = current->linear % 32;
  const int first = lane & ~(width - 1), last = first + width - 1;
  int source = lane;
  if (kind == Shuffle::index) source = first + (operand & (width - 1));
  if (kind == Shuffle::exclusive_or && (lane ^ operand) <= last) source = (lane ^ operand) & 31;
  if (kind == Shuffle::down && lane + operand <= last) source = lane + operand;
  if (kind == Shuffle::up && lane - operand >= first) source = lane - operand;
  Exchange exchange{bits, source};
  collective(shuffles[static_cast<int>(kind)], mask, &exchange, where);
  return exchange.bits;
}

uint32_t ballot(uint32_t mask, bool predicate, const Where& where) {
  Exchange exchange{predicate, 0};
  collective(vote, mask, &exchange, where);
  return static_cast<uint32_t>(exchange.bits);
}

void sync_warp(uint32_t mask, const Where& where) { collective(sync, mask, nullptr, where); }

}  // namespace pylatent::emulator
