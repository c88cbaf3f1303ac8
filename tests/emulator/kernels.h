// Little kernels of the emulator's own tests. `variant` chooses the correct kernel (0) or one with a planted bug.
#pragma once

#include <cstdint>
#include <string>

namespace pylatent::tests {

// n pairs: out[i] = in[i ^ 1] through shared memory, blocks of `block` threads.
void swap_pairs(uintptr_t in, uintptr_t out, int64_t n, int block, int variant);

}  // namespace pylatent::tests
