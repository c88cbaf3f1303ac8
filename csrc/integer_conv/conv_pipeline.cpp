#include "integer_conv/conv_pipeline.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace pylatent::integers {
namespace {

constexpr double kNanosecondsOfSplit = 0.1;

}  // namespace

bool inside_limits(const Layer& layer, const int16_t* values, int64_t count) {
  int16_t smallest = 0, largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    smallest = std::min(smallest, values[i]);
    largest = std::max(largest, values[i]);
  }
  return layer.follow.low < smallest && largest < layer.follow.high;
}

Pipeline::Pipeline(const std::vector<Layer>& layers, const Kernels& kernels, std::vector<Size> sizes, int64_t band,
                   int threads)
    : layers_(layers),
      kernels_(kernels),
      sizes_(std::move(sizes)),
      schedule_(make_schedule(layers, sizes_, band)),
      threads_(threads),
      pool_(layers) {
  for (size_t i = 0; i <= layers.size(); ++i) {
    const int64_t channels = i == 0 ? layers[0].shape.inputs : layers[i - 1].channels;
    Margin margin{0, 0};
    if (i < layers.size()) margin = margin_of(layers[i], sizes_[i].width, sizes_[i + 1].width);
    if (i > 0 && layers[i - 1].follow.wide) {
      wide_.emplace(sizes_[i], channels, schedule_.capacities[i], 0, 0);
    } else {
      rows_.emplace_back(sizes_[i], channels, schedule_.capacities[i], margin.left, margin.right);
    }
    bytes_.emplace_back();
    if (i == layers.size() || kernels.bytes == nullptr || layers[i].tiles == Tiles::large) continue;
    const int64_t pixels = pixels_across(layers[i], sizes_[i + 1].width);
    if (kernels.bytes->every_layer || layers[i].bytes().gain(layers[i], pixels) >= kLeastGain) {
      margin = margin_of_bytes(layers[i], sizes_[i].width, sizes_[i + 1].width);
      bytes_.back().emplace(sizes_[i], layers[i].bytes().pixel(), schedule_.capacities[i], margin.left, margin.right);
    }
  }
}

// A row of inputs of a layer, if it needs bytes.
void Pipeline::split(size_t number, int64_t row) {
  if (!bytes_[number]) return;
  const ByteWeights& weights = layers_[number].bytes();
  const Rows<int16_t>& from = rows_[number];
  kernels_.bytes->split({from.row(row), from.size().width, from.pitch(), weights.digits, bytes_[number]->row(row),
                         weights.plane(), weights.pixel()});
}

bool Pipeline::layer_step(const Step& step, const Seen& seen) {
  const size_t i = static_cast<size_t>(step.layer);
  const Layer& layer = layers_[i];
  const Rows<int16_t>* to = layer.follow.wide ? nullptr : &rows_[i + 1];
  const Ends ends{&rows_[i], layer.follow.skip ? &rows_[i - 1] : nullptr, to, layer.follow.wide ? &*wide_ : nullptr,
                  bytes_[i] ? &*bytes_[i] : nullptr};
  convolve(layer, kernels_, ends, step.first, step.last, pool_, threads_);
  if (to == nullptr) return true;
  const int64_t begin = step.first * layer.spread, end = std::min(step.last * layer.spread, to->size().height);
  for (int64_t row = begin; seen && row < end; ++row) {
    if (!seen(i, row, to->row(row), to->size().width * to->pitch())) return false;
  }
  if (bytes_[i + 1]) {
    const double elements = static_cast<double>((end - begin) * to->size().width * to->pitch());
    parallel_for(end - begin, elements * kNanosecondsOfSplit, threads_,
                 [&](int64_t row) { split(i + 1, begin + row); });
  }
  return true;
}

}  // namespace pylatent::integers
