// parallel_for: run fn(i) for i in [0, n) on up to `threads` threads.
// fn must not throw; iterations must be independent.
#pragma once

#include <cstdint>

namespace pylatent {

template <class Fn>
void parallel_for(int64_t n, int threads, Fn&& fn) {
#ifdef _OPENMP
  if (threads > 1 && n > 1) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t i = 0; i < n; ++i) fn(i);
    return;
  }
#else
  (void)threads;
#endif
  for (int64_t i = 0; i < n; ++i) fn(i);
}

}  // namespace pylatent
