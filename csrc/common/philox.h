// Philox4x32-10, the counter-based random numbers of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
// (SC11). The same counter and key give the same four words on every device.
#pragma once

#include <cstdint>

#include "common/vec.h"

namespace pylatent {

// Words 0 and 1 of the counter are counter_lo, words 2 and 3 counter_hi.
__host__ __device__ inline Vec<uint32_t, 4> philox4x32(uint64_t counter_lo, uint64_t counter_hi, uint32_t key_lo,
                                                       uint32_t key_hi) {
  uint32_t c0 = static_cast<uint32_t>(counter_lo), c1 = static_cast<uint32_t>(counter_lo >> 32);
  uint32_t c2 = static_cast<uint32_t>(counter_hi), c3 = static_cast<uint32_t>(counter_hi >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ key_lo;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ key_hi;
    c3 = static_cast<uint32_t>(p0);
    key_lo += 0x9E3779B9u;
    key_hi += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

}  // namespace pylatent
