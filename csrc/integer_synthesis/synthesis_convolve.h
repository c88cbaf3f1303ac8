// One layer over some rows.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "integer_synthesis/synthesis_kernel.h"
#include "integer_synthesis/synthesis_layer.h"
#include "integer_synthesis/synthesis_rows.h"

namespace pylatent::integers {

// What a thread needs beside the activations.
struct Scratch {
  Aligned<int16_t> spread;
  Aligned<int32_t> sums;
};

// Scratch for as many threads as take part, each large enough for every layer.
class ScratchPool {
 public:
  explicit ScratchPool(const std::vector<Layer>& layers);
  std::unique_ptr<Scratch> take();
  void give(std::unique_ptr<Scratch> scratch);

 private:
  int64_t spread_ = 0, sums_ = 0;  // elements
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_;
};

// skip: the activations that are added, or null. Rows `first` (even for 3x3) to `last` - 1 of the outputs.
void convolve(const Layer& layer, const Kernels& kernels, const Rows& from, const Rows* skip, const Rows& to,
              int64_t width, int64_t first, int64_t last, ScratchPool& pool, int threads);

}  // namespace pylatent::integers
