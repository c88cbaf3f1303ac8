// parallel_for: run fn(i) for i in [0, n) on up to `threads` threads, in no particular order.
//
// Every loop says about how long it takes one thread, and short ones stay on the caller's. An idle machine hands work
// out in some 10 us; but where another process has the core that a member of the team needs, the team waits for the
// scheduler: 3 to 10 ms, for a codec's forty loops up to 25 times the time of one thread (benchmarks/bench_threads.py).
//
// The threads are those of the OpenMP runtime that torch has loaded (parallel.cpp), so torch's operators and ours share
// one team and never compete for the cores. Iterations must be independent. If an iteration throws, the rest are
// skipped and the first exception is rethrown in the caller.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <string>
#include <type_traits>

namespace pylatent {

// Runs body(data) once on each of `threads` threads, the calling one included, and returns when all have finished.
// Fewer threads may take part, down to the caller alone: the bodies must share the work among those that come.
void run_team(int threads, void (*body)(void*), void* data);

// The calling thread's numbers of threads, for torch's OpenMP loops and for MKL (0: as OpenMP's; -1: there is no MKL).
struct ThreadCounts {
  int openmp, mkl;
};

// Sets them and puts the former ones into `before`. torch.set_num_threads does so too, but also sets what threads that
// are started meanwhile begin with. False, and nothing done, where run_team does not use torch's OpenMP runtime.
bool set_thread_counts(ThreadCounts counts, ThreadCounts* before);

// Where run_team's threads come from: "OpenMP (<path of the runtime>)" or "std::thread (<reason>)".
std::string thread_runtime();

namespace detail {

template <class Fn>
struct Loop {
  Fn* fn;
  int64_t n;
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;

  static void body(void* data) {
    Loop& loop = *static_cast<Loop*>(data);
    try {
      for (int64_t i; (i = loop.next.fetch_add(1, std::memory_order_relaxed)) < loop.n;) (*loop.fn)(i);
    } catch (...) {
      if (!loop.failed.exchange(true)) loop.error = std::current_exception();
      loop.next.store(loop.n, std::memory_order_relaxed);
    }
  }
};

}  // namespace detail

constexpr double kLeastWork = 200e3;  // nanoseconds

// nanoseconds: of the whole loop on one thread with vector instructions, within a factor of two or so.
template <class Fn>
void parallel_for(int64_t n, double nanoseconds, int threads, Fn&& fn) {
  if (threads <= 1 || n <= 1 || nanoseconds < kLeastWork) {
    for (int64_t i = 0; i < n; ++i) fn(i);
    return;
  }
  using Function = std::remove_reference_t<Fn>;
  detail::Loop<Function> loop;
  loop.fn = &fn;
  loop.n = n;
  run_team(threads, &detail::Loop<Function>::body, &loop);
  if (loop.error) std::rethrow_exception(loop.error);
}

}  // namespace pylatent
