#include "integer_conv/conv_byte_weights.h"

#include <algorithm>
#include <cstdlib>

#include "integer_conv/conv_layer.h"

namespace pylatent::integers {
namespace {

int64_t taps_of(const Layer& layer, const Block& block) {
  return static_cast<int64_t>(layer.phases[static_cast<size_t>(block.phase)].taps.size());
}

// One(block, output of the block, tap, input, weight)
template <class One>
void each_weight(const Layer& layer, One&& one) {
  for (size_t number = 0; number < layer.blocks.size(); ++number) {
    const Block& block = layer.blocks[number];
    for (int64_t output = 0; output < block.units * kUnit; ++output) {
      for (int64_t tap = 0; tap < taps_of(layer, block); ++tap) {
        for (int64_t input = 0; input < layer.shape.inputs; ++input) {
          one(number, output, tap, input, layer.weight_at(block, output, tap, input));
        }
      }
    }
  }
}

int planes_of(Digits digits) { return digits == Digits::two ? 1 : digits == Digits::three ? 3 : 2; }

Digits digits_of(const Layer& layer) {
  int32_t largest = 0;
  each_weight(layer, [&](size_t, int64_t, int64_t, int64_t, int32_t w) { largest = std::max(largest, std::abs(w)); });
  if (largest <= INT8_MAX) return Digits::two;
  return layer.small_inputs && largest <= kSmall ? Digits::three : Digits::four;
}

// Of all planes.
void digits_of_weight(Digits digits, int32_t w, int32_t (&planes)[3]) {
  const int32_t high = (w + 64) >> 7, low = w - 128 * high;
  switch (digits) {
    case Digits::two:
      planes[0] = w;
      return;
    case Digits::three:
      planes[0] = low;
      planes[1] = low + high;
      planes[2] = high;
      return;
    case Digits::four:
      planes[0] = w & 255;
      planes[1] = w >> 8;
  }
}

}  // namespace

double ByteWeights::gain(const Layer& layer, int64_t pixels) const {
  const double taps = static_cast<double>(layer.taps()) / static_cast<double>(layer.out_step * layer.out_step);
  const int products = digits == Digits::two ? 2 : digits == Digits::three ? 3 : 4, sums = std::min(products, 3);
  // Of a unit of outputs: 64 products a cycle, which take a sixth longer; and 16 cycles a tile, besides what it takes
  // to store tiles of sums and to add them.
  const double vnni =
      static_cast<double>(pixels * kUnit * layer.depth) * taps * (layer.tiled() ? 4.0 / 9 : 1) / 64 * 1.17;
  const double of_group = static_cast<double>(16 * products * chunks) * taps + 36.0 * sums;
  return vnni / (of_group * static_cast<double>((pixels + kGroup - 1) / kGroup));
}

ByteWeights::ByteWeights(const Layer& layer)
    : digits(digits_of(layer)), chunks((layer.shape.inputs + kChunk - 1) / kChunk) {
  int64_t count = 0;
  for (const Block& block : layer.blocks) {
    blocks.push_back(count);
    count += block.units * planes_of(digits) * taps_of(layer, block) * chunks * kTileBytes;
  }
  values = allocate<uint8_t>(count);
  std::fill_n(values.get(), count, uint8_t{0});
  each_weight(layer, [&](size_t block, int64_t output, int64_t tap, int64_t input, int32_t w) {
    int32_t planes[3];
    digits_of_weight(digits, w, planes);
    const int64_t taps = taps_of(layer, layer.blocks[block]);
    for (int plane = 0; plane < planes_of(digits); ++plane) {
      const int64_t tile = ((output / kUnit * planes_of(digits) + plane) * taps + tap) * chunks + input / kChunk;
      const int64_t place = (input % kChunk / 4 * kUnit + output % kUnit) * 4 + input % 4;
      values[blocks[block] + tile * kTileBytes + place] = static_cast<uint8_t>(planes[plane]);
    }
  });
}

}  // namespace pylatent::integers
