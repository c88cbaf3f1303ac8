// One layer: its weights as the kernels read them, and where its outputs go.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "integer_conv/aligned.h"
#include "integer_conv/conv_byte_weights.h"
#include "integer_conv/conv_geometry.h"
#include "integer_conv/conv_kernel.h"

namespace pylatent::integers {

// What follows the sums. shuffle: pixels along a side that an output becomes. skip: whether the inputs of the layer
// before are added. together: a shuffled pixel's channels stay beside each other, for bytes to be made of them. wide:
// results have 32 bits instead of 16, which only the last layer may.
struct Follow {
  int64_t shuffle;
  bool skip;
  int32_t low, high;
  bool together, wide;
};

// Outputs of one phase that a product gives.
struct Block {
  int64_t first;    // of `Layer::bias` and its like, and of `Layer::units`
  int64_t weights;  // of `Layer::weights`
  int units;
  int phase;
};

// A unit's place among the pixels and channels of an output.
struct Unit {
  int64_t row, column, channel;
};

// How a layer is computed: pixel by pixel, or by F(2x2, 3x3) or F(4x4, 3x3).
enum class Tiles { none, small, large };

// Results are (S m + 2^31) >> 32 of sums S of products and bias, where m is `multiplier`, or `negative` if S < 0.
class Layer : public Geometry {
 public:
  // weight: as Geometry has them, or of large tiles the transformed ones (outputs, inputs, 6, 6); bias, multiplier,
  // negative: `outputs` each, of large tiles for each exponent. Throws std::invalid_argument.
  Layer(const ConvShape& shape, const Follow& follow, Tiles tiles, const int16_t* weight, const int32_t* bias,
        const int32_t* multiplier, const int32_t* negative);

  // Whether there is a tiled form, whose weights fit 16 bits.
  static bool may_be_tiled(const ConvShape& shape, const int32_t* weight);

  Follow follow;
  Tiles tiles;
  int64_t side;       // of a tile, in pixels
  int64_t depth;      // inputs, made even
  int64_t spread;     // pixels along a side that an output becomes in the activations
  int64_t channels;   // of the activations
  int64_t positions;  // of products: 16 or 36 of tiles, else 1
  bool small_inputs;  // known to lie within kSmall, as those of tiles do
  std::vector<Block> blocks;
  std::vector<Unit> units;
  std::vector<int32_t> bias, multiplier, negative;  // in whole units, of large tiles for each exponent
  Aligned<int16_t> weights;  // [block][position or tap][channel / 2][output of the block][channel % 2]

  bool tiled() const { return tiles != Tiles::none; }
  // Of all blocks, in whole units.
  int64_t outputs() const { return static_cast<int64_t>(units.size()) * kUnit; }
  Size result_size(Size input) const {
    const Size size = output_size(input);
    return {size.height * spread / out_step, size.width * spread / out_step};
  }
  // Of an output of a block, as it was given.
  int32_t weight_at(const Block& block, int64_t output, int64_t tap, int64_t input) const;
  // The weights for ByteKernels, made when they are first asked for.
  const ByteWeights& bytes() const;
  int64_t first_tap_row() const;
  int64_t last_tap_row() const;

 private:
  std::vector<int64_t> place_units();
  void pack(const Block& block, const std::vector<int64_t>& origins, const int16_t* weight);

  struct Bytes {
    std::once_flag made;
    std::optional<ByteWeights> weights;
  };
  std::unique_ptr<Bytes> bytes_;
};

}  // namespace pylatent::integers
