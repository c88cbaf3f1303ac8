// All layers of a network over one image, in rows.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <type_traits>
#include <vector>

#include "common/parallel.h"
#include "integer_conv/conv_rows.h"
#include "integer_conv/conv_schedule.h"
#include "integer_conv/convolve.h"

namespace pylatent::integers {

constexpr double kNanosecondsOfElement = 1;  // to read or write

// Is shown each row of `count` activations, zeros of whole units among them, that a layer has made for the next one,
// and may change them: (layer, row, values, count) -> whether to go on.
using Seen = std::function<bool(size_t, int64_t, int16_t*, int64_t)>;

// Whether all values lie within the limits of the layer that made them, without reaching them.
bool inside_limits(const Layer& layer, const int16_t* values, int64_t count);

class Pipeline {
 public:
  // sizes: of the inputs of each layer, and of the results: all there is, or as much as the results depend on. band:
  // rows of inputs at a time.
  Pipeline(const std::vector<Layer>& layers, const Kernels& kernels, std::vector<Size> sizes, int64_t band,
           int threads);

  // read(row, out, pitch) puts a row of inputs, [column][channel], and returns whether it could; write(row, values,
  // pitch) takes one of the results, int16_t or, from a wide layer, int32_t. Both are called by several threads.
  // Returns false as soon as `read` or `seen` does.
  template <class T, class Read, class Write>
  bool run(Read&& read, Write&& write, const Seen& seen = {});

 private:
  bool layer_step(const Step& step, const Seen& seen);
  void split(size_t number, int64_t row);

  const std::vector<Layer>& layers_;
  Kernels kernels_;
  std::vector<Size> sizes_;
  Schedule schedule_;
  int threads_;
  ScratchPool pool_;
  std::vector<Rows<int16_t>> rows_;                  // inputs of each layer, and results unless they are wide
  std::vector<std::optional<Rows<uint8_t>>> bytes_;  // inputs of each layer that ByteKernels compute
  std::optional<Rows<int32_t>> wide_;
};

template <class T, class Read, class Write>
bool Pipeline::run(Read&& read, Write&& write, const Seen& seen) {
  const int64_t count = static_cast<int64_t>(layers_.size());
  const auto each_row = [&](const Step& step, Size size, int64_t channels, auto&& one) {
    const double elements = static_cast<double>((step.last - step.first) * size.width * channels);
    std::atomic<bool> good{true};
    parallel_for(step.last - step.first, elements * kNanosecondsOfElement, threads_, [&](int64_t task) {
      if (!one(step.first + task)) good.store(false, std::memory_order_relaxed);
    });
    return good.load();
  };
  for (const Step& step : schedule_.steps) {
    bool good = true;
    if (step.layer < 0) {
      const Rows<int16_t>& rows = rows_.front();
      good = each_row(step, rows.size(), rows.channels(), [&](int64_t row) {
        if (!read(row, rows.row(row), rows.pitch())) return false;
        split(0, row);
        return true;
      });
    } else if (step.layer < count) {
      good = layer_step(step, seen);
    } else if constexpr (std::is_same_v<T, int32_t>) {
      each_row(step, wide_->size(), wide_->channels(), [&](int64_t row) {
        write(row, static_cast<const int32_t*>(wide_->row(row)), wide_->pitch());
        return true;
      });
    } else {
      const Rows<int16_t>& rows = rows_.back();
      each_row(step, rows.size(), rows.channels(), [&](int64_t row) {
        write(row, static_cast<const int16_t*>(rows.row(row)), rows.pitch());
        return true;
      });
    }
    if (!good) return false;
  }
  return true;
}

}  // namespace pylatent::integers
