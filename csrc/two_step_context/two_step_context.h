// The parameters of both steps of a two-step context: what pylatent/codecs/context.py defines, to the bit, for pictures
// whose activations are small (exact_conv/exact_small.h).
//
// Everything is an integer over 2^8. Step 1 codes the first half of the channels on the even squares of a checkerboard,
// the others on the odd ones; step 2 the rest. Elements of a step follow each other as its parts do (docs/format.md).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "exact_conv/exact_small.h"

namespace pylatent::exact {

// Functions of the scale by level: how many of `thresholds` are below it.
struct ScaleGrid {
  std::vector<int32_t> thresholds, features, sigmas, reciprocals;
};

struct ContextWeights {
  std::vector<LayerWeights> prior, hyper, neighbours, fuse;  // prior: h_s
};

// What the second step needs to know of the first, [row][column][channel].
struct FirstStep {
  int32_t* mean;
  uint8_t* level;
};

class TwoStepContext {
 public:
  // channels: coded, an even number; h_s gives as many scales, then means, then the means of other channels. Nothing if
  // the networks' weights leave no room for 16 bits. Throws std::invalid_argument if networks do not fit together.
  static std::optional<TwoStepContext> make(const ContextWeights& weights, ScaleGrid grid, int64_t channels,
                                            int32_t tables);

  int64_t channels() const { return channels_; }
  int64_t others() const { return others_; }

  // z: (channels of z, z_size). mean, table: of the first step's elements; rest: (others, size). False, and nothing
  // specified, if values are no integers or an activation is too large.
  bool first(const double* z, Size z_size, Size size, float* rest, float* mean, uint8_t* table, const FirstStep& kept,
             int threads, int variant) const;
  // symbols: of the first step's elements. mean, table: of the second's. False as before.
  bool second(const int32_t* symbols, Size size, const FirstStep& kept, float* mean, uint8_t* table, int threads,
              int variant) const;

 private:
  TwoStepContext() = default;
  void read_residuals(const int32_t* symbols, Size size, int64_t row, const uint8_t* level, int16_t* out,
                      int64_t pitch) const;
  void read_parameters(Size size, int64_t row, const FirstStep& kept, int16_t* out, int64_t pitch) const;
  bool join(const int16_t* neighbours, int64_t width, int16_t* values, int64_t pitch) const;

  ScaleGrid grid_;
  std::vector<uint8_t> levels_;  // of each scale up to one above the last threshold
  int64_t channels_ = 0, others_ = 0, hidden_ = 0;
  int32_t tables_ = 0, joined_ = 0;  // joined_: largest input of the last network
  std::optional<SmallNetwork> prior_;
  std::vector<Geometry> prior_layers_;
  std::vector<integers::Layer> neighbours_, rest_;  // rest_: hyper, then fuse
  size_t joint_ = 0;                                // the layer of rest_ whose result is joined
};

}  // namespace pylatent::exact
