// Shuffles, votes and __syncwarp.
#pragma once

#include <cstdint>
#include <cstring>

#include "emulator/fault.h"

namespace pylatent::emulator {

enum class Shuffle { index, exclusive_or, down, up };

// `bits` of the lane that `operand` names, as __shfl_sync and its kin find it; all ones if that lane takes no part.
uint64_t shuffle(Shuffle kind, uint32_t mask, uint64_t bits, int operand, int width, const Where& where);
uint32_t ballot(uint32_t mask, bool predicate, const Where& where);
void sync_warp(uint32_t mask, const Where& where);

template <class T>
T shuffle_value(Shuffle kind, uint32_t mask, const T& value, int operand, int width, const Where& where) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = shuffle(kind, mask, bits, operand, width, where);
  T out;
  std::memcpy(&out, &bits, sizeof(T));
  return out;
}

}  // namespace pylatent::emulator
