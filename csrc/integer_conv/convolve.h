// One layer over some rows.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "integer_conv/conv_kernel.h"
#include "integer_conv/conv_layer.h"
#include "integer_conv/conv_rows.h"

namespace pylatent::integers {

// What a thread needs beside the activations.
struct Scratch {
  Aligned<int16_t> spread;
  Aligned<int32_t> sums;
  std::vector<const int16_t*> rows;
};

// Scratch for as many threads as take part, each large enough for every layer.
class ScratchPool {
 public:
  explicit ScratchPool(const std::vector<Layer>& layers);
  std::unique_ptr<Scratch> take();
  void give(std::unique_ptr<Scratch> scratch);

 private:
  int64_t spread_ = 0, sums_ = 0, rows_ = 0;  // elements
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_;
};

// Where a layer's inputs are and its results go. skip: what is added, or null. Either `to` or `wide` is null.
struct Ends {
  const Rows<int16_t>* from;
  const Rows<int16_t>* skip;
  const Rows<int16_t>* to;
  const Rows<int32_t>* wide;
  const Rows<uint8_t>* bytes;  // of `from`, for ByteKernels, or null

  Size result() const { return to != nullptr ? to->size() : wide->size(); }
};

// Of a layer's results of some width, before they become more.
int64_t pixels_across(const Layer& layer, int64_t result);

// Columns of zeros that a layer reads to the left and the right of inputs of some width, for results of another.
struct Margin {
  int64_t left, right;
};
Margin margin_of(const Layer& layer, int64_t width, int64_t result);
Margin margin_of_bytes(const Layer& layer, int64_t width, int64_t result);

// Rows `first` (of which tiles begin) to `last` - 1 of the layer's pixels, before they become more.
void convolve(const Layer& layer, const Kernels& kernels, const Ends& ends, int64_t first, int64_t last,
              ScratchPool& pool, int threads);

}  // namespace pylatent::integers
