// Elementwise kernels: a tensor in blocks, tasks of blocks on threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/denormals.h"
#include "common/parallel.h"
#include "common/simd_stage.h"

namespace pylatent {

// fn(first, n) for consecutive blocks of n <= kBlock elements that cover [0, count), on up to `threads` threads.
// nanoseconds: of an element, as in parallel_for.
template <class Fn>
void for_blocks(int64_t count, double nanoseconds, int threads, Fn&& fn) {
  constexpr int64_t kTask = 32 * kBlock;  // some 10 us of work, well above the cost of sharing it out
  parallel_for((count + kTask - 1) / kTask, nanoseconds * static_cast<double>(count), threads, [&](int64_t task) {
    const FlushDenormals flush;
    const int64_t end = std::min((task + 1) * kTask, count);
    for (int64_t first = task * kTask; first < end; first += kBlock) fn(first, std::min(kBlock, end - first));
  });
}

}  // namespace pylatent
