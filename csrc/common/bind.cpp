// What was built and what the process runs on, for show_config() and the tests.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "build_info.h"
#include "common/checks.h"
#include "common/parallel.h"
#ifdef PYLATENT_WITH_CUDA
#include "common/cuda_info.h"
#endif

namespace py = pybind11;

namespace pylatent {
namespace {

py::object cuda() {
#ifdef PYLATENT_WITH_CUDA
  const CudaInfo info = [] {
    py::gil_scoped_release release;
    return cuda_info();
  }();
  py::dict out;
  out["toolkit"] = info.toolkit;
  out["driver"] = info.driver;
  out["devices"] = info.devices;
  out["problem"] = info.problem;
  return out;
#else
  return py::none();
#endif
}

// The levels of cpu.h that have code in this module.
std::vector<std::string> simd_built() {
#ifdef PYLATENT_X86_SIMD
  return {"scalar", "avx2", "avx512"};
#else
  return {"scalar"};
#endif
}

// (openmp, mkl) as before, or None where nothing can be set.
py::object thread_counts(int openmp, int mkl) {
  check_range("openmp", openmp, 1, INT32_MAX);
  ThreadCounts before{};
  if (!set_thread_counts({openmp, mkl}, &before)) return py::none();
  return py::make_tuple(before.openmp, before.mkl);
}

// For the tests: runs a loop of n nearly empty iterations, of which number fail_at throws (none if negative), as one of
// so many nanoseconds.
// Returns (iterations done, threads that took part).
py::tuple parallel_probe(int64_t n, int threads, int64_t fail_at, double nanoseconds) {
  check_range("n", n, 0, INT64_C(1) << 32);
  check_range("threads", threads, 1, INT32_MAX);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  int64_t done = 0;
  {
    py::gil_scoped_release release;
    parallel_for(n, nanoseconds, threads, [&](int64_t i) {
      if (i == fail_at) throw std::runtime_error("iteration " + std::to_string(i) + " failed");
      std::lock_guard<std::mutex> lock(mutex);
      seen.insert(std::this_thread::get_id());
      ++done;
    });
  }
  return py::make_tuple(done, seen.size());
}

}  // namespace

void bind_common(py::module_& m) {
  m.attr("version") = PYLATENT_VERSION;
  m.attr("compiler") = PYLATENT_COMPILER;
  m.attr("cuda_built") = PYLATENT_CUDA_STATUS;
  m.attr("simd_built") = simd_built();
#ifdef PYLATENT_WITH_CUDA
  m.attr("has_cuda") = true;
#else
  m.attr("has_cuda") = false;
#endif
  m.def("cuda_info", &cuda, "driver and devices as the CUDA runtime sees them; None in a build without CUDA");
  m.def("thread_runtime", &thread_runtime, "where the threads of parallel loops come from");
  m.def("parallel_probe", &parallel_probe, py::arg("n"), py::arg("threads"), py::arg("fail_at") = -1,
        py::arg("nanoseconds") = 1e9);
  m.def("set_thread_counts", &thread_counts, py::arg("openmp"), py::arg("mkl"),
        "sets the calling thread's numbers of OpenMP and MKL threads; returns the former ones");
  m.attr("least_work") = kLeastWork;
}

}  // namespace pylatent
