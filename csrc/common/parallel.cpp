// One thread team per process, torch's own.
//
// Linking an OpenMP runtime would risk a second one in the process (torch wheels carry theirs, some under another file
// name), whose waiting threads spin against torch's: measured, a private spinning pool turns a 40 us torch + pylatent
// loop into 8 ms. So nothing is linked: GOMP_parallel, the entry point that libgomp, LLVM's libomp and Intel's libiomp5
// share, is looked up in the runtime that libtorch_cpu was linked with. Where that finds nothing, and in forked
// children, short-lived std::threads do the work, at some 20 us more per call.
#include "common/parallel.h"

#include <algorithm>
#include <system_error>
#include <thread>
#include <vector>

#ifdef __linux__
#include <dlfcn.h>
#include <unistd.h>
#endif

namespace pylatent {
namespace {

// libgomp aborts the process when the system refuses a thread, so absurd counts stop here.
int max_threads() {
  static const int limit = std::max(64, 2 * static_cast<int>(std::thread::hardware_concurrency()));
  return limit;
}

void run_with_std_threads(int threads, void (*body)(void*), void* data) {
  std::vector<std::thread> team;
  team.reserve(static_cast<size_t>(threads - 1));
  try {
    while (static_cast<int>(team.size()) < threads - 1) team.emplace_back(body, data);
  } catch (const std::system_error&) {
    // The system gives no more threads: those that exist share the work.
  }
  body(data);
  for (std::thread& thread : team) thread.join();
}

#ifdef __linux__

using GompParallel = void (*)(void (*body)(void*), void* data, unsigned threads, unsigned flags);

// A function of libtorch_cpu, which has MKL inside where it has it, or of a library that it was linked with.
template <class Function>
Function find_in_torch(const char* name) {
  void* torch = dlopen("libtorch_cpu.so", RTLD_LAZY | RTLD_NOLOAD);
  if (torch == nullptr) return nullptr;
  void* symbol = dlsym(torch, name);
  dlclose(torch);  // drops the reference taken above; torch stays loaded
  return reinterpret_cast<Function>(symbol);
}

GompParallel torch_openmp() {
  static const auto parallel = find_in_torch<GompParallel>("GOMP_parallel");
  return parallel;
}

const pid_t kLoadedBy = getpid();

// A forked child has the runtime's bookkeeping but none of its threads: a parallel region there waits for ever.
bool forked() { return getpid() != kLoadedBy; }

#endif

}  // namespace

void run_team(int threads, void (*body)(void*), void* data) {
  threads = std::min(threads, max_threads());
  if (threads <= 1) return body(data);
#ifdef __linux__
  // `threads` is passed on even where there is less work: libgomp ends the threads that a smaller team leaves over, and
  // torch's next operator would have to start them again.
  if (torch_openmp() != nullptr && !forked()) return torch_openmp()(body, data, static_cast<unsigned>(threads), 0);
#endif
  run_with_std_threads(threads, body, data);
}

bool set_thread_counts(ThreadCounts counts, ThreadCounts* before) {
#ifdef __linux__
  static const auto get = find_in_torch<int (*)()>("omp_get_max_threads");
  static const auto set = find_in_torch<void (*)(int)>("omp_set_num_threads");
  static const auto set_mkl = find_in_torch<int (*)(int)>("MKL_Set_Num_Threads_Local");  // returns the former number
  if (torch_openmp() == nullptr || get == nullptr || set == nullptr) return false;
  *before = {get(), set_mkl == nullptr || counts.mkl < 0 ? -1 : set_mkl(counts.mkl)};
  set(counts.openmp);
  return true;
#else
  (void)counts;
  (void)before;
  return false;
#endif
}

std::string thread_runtime() {
#ifdef __linux__
  if (torch_openmp() == nullptr) return "std::thread (torch has loaded no OpenMP runtime with GOMP_parallel)";
  if (forked()) return "std::thread (OpenMP cannot be used in a forked process)";
  Dl_info info;
  const bool known = dladdr(reinterpret_cast<void*>(torch_openmp()), &info) != 0 && info.dli_fname != nullptr;
  return std::string("OpenMP (") + (known ? info.dli_fname : "unknown file") + ")";
#else
  return "std::thread (this platform's torch is not asked for its OpenMP runtime)";
#endif
}

}  // namespace pylatent
