// Exact networks whose activations stay small, as those of pictures do: in 16 bits, by the kernels of integer_conv.
//
// A layer takes inputs up to a limit that follows from its weights, so that no sum overflows; an activation that
// reaches it ends the attempt, but in a network of its own in tiles only if what each channel has reached does not rule
// out an overflow either. Results are those of the definition: halves round up, and a division by 2^10 after a product
// with slope / 2^10 is one by 2^32 after a product with slope 2^12.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "exact_conv/exact_conv.h"
#include "integer_conv/conv_layer.h"
#include "integer_conv/conv_pipeline.h"
#include "integer_conv/conv_variants.h"

namespace pylatent::exact {

// Layers of 16 bits. largest: of the inputs.
struct SmallLayers {
  int32_t largest;
  std::vector<integers::Layer> layers;
};

// Nothing if some layer's weights or bias leave no room. limit: of the results, which reach it where they are too
// large, or 0: they have 32 bits.
std::optional<SmallLayers> small_layers(const std::vector<LayerWeights>& layers, int32_t limit);

// Of each channel, from 0 on both ways.
struct Extent {
  std::vector<int16_t> smallest, largest;

  bool within(const Extent& other) const;
  Extent grown(int percent, int by) const;  // up to 16 bits
};

// The inputs of a layer in tiles that leave its sums enough room, channel by channel.
class ChannelRoom {
 public:
  explicit ChannelRoom(const LayerWeights& layer);
  // Whether inputs of this extent leave it.
  bool holds(const Extent& extent) const;

 private:
  std::vector<int32_t> positive_, negative_;  // [output][input], sums of such weights over the taps
};

// What the results of a layer have reached so far, and what they may reach for all that is known.
struct Reached {
  Extent seen, good;
};

class SmallNetwork {
 public:
  static std::optional<SmallNetwork> make(const std::vector<LayerWeights>& layers);

  // One image: values (channels, rows, columns of `input`) to the top left `sizes`.back() of the result. sizes: what of
  // each layer's inputs, and of the result, is needed. False, and `out` unspecified, if values are not integers, or an
  // activation is too large.
  template <class T>
  bool run(const double* values, Size input, const std::vector<Size>& sizes, T* out, int threads, int variant) const;

  // write(row, int32_t values, pitch) instead of `out`.
  template <class Write>
  bool run_rows(const double* values, Size input, const std::vector<Size>& sizes, int threads, int variant,
                Write&& write) const;

 private:
  // Inputs of a layer, and if they lie outside of `low` to `high`, what they must leave.
  struct Watched {
    int32_t low, high;
    ChannelRoom room;
  };

  explicit SmallNetwork(SmallLayers layers) : small_(std::move(layers)) {}
  // A row of a layer's results; false if they are too large.
  bool see(size_t layer, const int16_t* row, int64_t count, Reached& reached) const;
  bool read_row(const double* values, Size input, int64_t row, int64_t columns, int16_t* out, int64_t pitch) const;

  SmallLayers small_;
  std::vector<std::optional<Watched>> watched_;  // results of each layer that the next one takes in tiles
};

constexpr int64_t kPixels = 24;  // inputs at a time, for each thread

template <class Write>
bool SmallNetwork::run_rows(const double* values, Size input, const std::vector<Size>& sizes, int threads, int variant,
                            Write&& write) const {
  const int64_t columns = sizes.front().width;
  const int64_t band = (kPixels + columns - 1) / columns * std::min(threads, 8);
  integers::Pipeline pipeline(small_.layers, integers::kernels_of(variant), sizes, band, threads);
  std::vector<Reached> reached(small_.layers.size());
  return pipeline.run<int32_t>(
      [&](int64_t row, int16_t* to, int64_t pitch) { return read_row(values, input, row, columns, to, pitch); }, write,
      [&](size_t layer, int64_t, int16_t* made, int64_t count) { return see(layer, made, count, reached[layer]); });
}

}  // namespace pylatent::exact
