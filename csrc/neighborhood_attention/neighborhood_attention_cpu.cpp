#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

#include "common/cpu.h"
#include "common/denormals.h"
#include "common/parallel.h"
#include "neighborhood_attention/neighborhood_attention.h"
#include "neighborhood_attention/neighborhood_attention_kernel.h"

namespace pylatent::neighborhood {
namespace {

// Blocks of scratch, as many as there are tasks at a time.
class Scratch {
 public:
  explicit Scratch(int64_t floats) : floats_(static_cast<size_t>(floats)) {}

  template <class Fn>
  void with(Fn fn) {
    std::unique_ptr<float[]> block = take();
    // In the cache line's steps: half of all unaligned loads cross a line, no aligned one does.
    fn(reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(block.get()) + 63) / 64 * 64));
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(std::move(block));
  }

 private:
  std::unique_ptr<float[]> take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) return std::unique_ptr<float[]>(new float[floats_ + 16]);
    std::unique_ptr<float[]> block = std::move(free_.back());
    free_.pop_back();
    return block;
  }

  size_t floats_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<float[]>> free_;
};

// Tasks of one head follow one another at a distance of `heads`.
std::vector<Task> make_tasks(const Job& job) {
  std::vector<Task> tasks;
  for (int64_t b = 0; b < job.batch; ++b) {
    for (int64_t i = 0; i < job.dilation; ++i) {
      for (int64_t j = 0; j < job.dilation; ++j) {
        const Window rows{residue_length(job.height, job.dilation, i), job.kernel};
        const Window columns{residue_length(job.width, job.dilation, j), job.kernel};
        for (int64_t y = 0; y < rows.length; y += kRowBlock) {
          for (int64_t x = 0; x < columns.length; x += kStrip) {
            for (int64_t h = 0; h < job.heads; ++h) {
              tasks.push_back({b, h, i, j, rows, columns, y, std::min(y + kRowBlock, rows.length), x,
                               std::min(x + kStrip, columns.length)});
            }
          }
        }
      }
    }
  }
  return tasks;
}

// One thread's time: two operations for each product, at about 20 operations a nanosecond.
double nanoseconds(const Job& job, double products) {
  return 0.1 * products * static_cast<double>(job.batch * job.height * job.width * job.heads) *
         static_cast<double>(job.kernel * job.kernel * (job.dim + 8));
}

template <class Fn>
void for_tasks(const std::vector<Task>& tasks, double time, int threads, Scratch& scratch, Fn fn) {
  parallel_for(static_cast<int64_t>(tasks.size()), time, threads, [&](int64_t i) {
    const FlushDenormals flush;
    scratch.with([&](float* block) { fn(i, tasks[static_cast<size_t>(i)], block); });
  });
}

}  // namespace

void forward(const Job& job, int threads) {
  const Kernels kernels = PYLATENT_CALL_VARIANT(simd_level(), kernels, (job.dtype));
  const std::vector<Task> tasks = make_tasks(job);
  Scratch scratch(kernels.scratch(job));
  for_tasks(tasks, nanoseconds(job, 2), threads, scratch,
            [&](int64_t, const Task& task, float* block) { kernels.forward(job, task, block); });
}

void backward(const Job& job, int threads) {
  const Kernels kernels = PYLATENT_CALL_VARIANT(simd_level(), kernels, (job.dtype));
  const std::vector<Task> tasks = make_tasks(job);
  Scratch scratch(kernels.scratch(job));
  const int64_t span = 2 * job.kernel - 1, entries = job.grad_bias == 0 ? 0 : span * span;
  std::vector<float> partial(tasks.size() * static_cast<size_t>(entries));
  const std::unique_ptr<float[]> delta(new float[static_cast<size_t>(job.batch * job.heads * job.height * job.width)]);
  for_tasks(tasks, nanoseconds(job, 3), threads, scratch, [&](int64_t i, const Task& task, float* block) {
    kernels.backward_queries(job, task, delta.get(), entries == 0 ? nullptr : partial.data() + i * entries, block);
  });
  for_tasks(tasks, nanoseconds(job, 4), threads, scratch,
            [&](int64_t, const Task& task, float* block) { kernels.backward_keys(job, task, delta.get(), block); });
  if (entries == 0) return;
  float* sums = reinterpret_cast<float*>(job.grad_bias);
  std::fill_n(sums, job.heads * entries, 0.0f);
  for (size_t i = 0; i < tasks.size(); ++i) {
    float* to = sums + tasks[i].head * entries;
    const float* from = partial.data() + i * static_cast<size_t>(entries);
    for (int64_t e = 0; e < entries; ++e) to[e] += from[e];
  }
}

}  // namespace pylatent::neighborhood
