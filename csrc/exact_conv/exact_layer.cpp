#include "exact_conv/exact_layer.h"

#include <algorithm>
#include <cstdlib>

#include "common/checks.h"

namespace pylatent::exact {
Layer::Layer(const ConvShape& shape_, const int32_t* weight, const int64_t* bias_, int32_t slope_)
    : Geometry(shape_), slope(slope_), channels(round_up(shape_.inputs, 2)), pitch(round_up(shape_.outputs, kUnit)) {
  check_range("slope", slope, 0, 1 << kSlopeBits);
  const int64_t units = pitch / kUnit, count = (units + kMostUnits - 1) / kMostUnits;
  for (int64_t i = 0; i < count; ++i) {  // blocks of nearly the same number of units
    const int64_t first = units * i / count, last = units * (i + 1) / count;
    blocks.push_back({first * kUnit, static_cast<int>(last - first)});
  }
  bias.assign(bias_, bias_ + shape.outputs);
  bias.resize(static_cast<size_t>(pitch), 0);
  for (int64_t b : bias) narrow_bias.push_back(static_cast<int32_t>(std::clamp<int64_t>(b, -INT32_MAX, INT32_MAX)));
  if (fits_narrow(weight)) {
    narrow = pack<int16_t>(weight);
  } else {
    wide = pack<int32_t>(weight);
  }
}

template <class W>
Aligned<W> Layer::pack(const int32_t* weight) const {
  const int64_t count = taps() * channels * pitch;
  Aligned<W> packed = allocate<W>(count);
  std::fill_n(packed.get(), count, W{0});
  for (const Phase& phase : phases) {
    for (const Block& block : blocks) {
      const int64_t width = block.units * kUnit, end = std::min(block.first + width, shape.outputs);
      W* to = packed.get() + weights_of(phase, block);
      for (const Tap& tap : phase.taps) {
        for (int64_t input = 0; input < shape.inputs; ++input) {
          for (int64_t output = block.first; output < end; ++output) {
            to[(input / 2 * width + output - block.first) * 2 + input % 2] =
                static_cast<W>(weight[weight_of(output, input, phase, tap)]);
          }
        }
        to += channels * width;
      }
    }
  }
  return packed;
}

bool Layer::fits_narrow(const int32_t* weight) {
  const int64_t elements = shape.inputs * shape.outputs * shape.kernel_h * shape.kernel_w;
  for (int64_t i = 0; i < elements; ++i) {
    if (weight[i] < -INT16_MAX || weight[i] > INT16_MAX) return false;
  }
  int64_t limit = INT16_MAX;
  for (const Phase& phase : phases) {
    for (int64_t output = 0; output < shape.outputs; ++output) {
      int64_t norm = 0;
      for (const Tap& tap : phase.taps) {
        for (int64_t input = 0; input < shape.inputs; ++input) {
          norm += std::abs(int64_t{weight[weight_of(output, input, phase, tap)]});
        }
      }
      if (norm * (kLimit >> kSplitBits) > INT32_MAX) return false;
      const int64_t b = bias[static_cast<size_t>(output)];
      const int64_t room = (INT64_C(1) << 31) - (1 << kWeightBits) - 1 - std::abs(b);
      limit = std::min(limit, room < 0 ? -1 : room / std::max<int64_t>(norm, 1));
    }
  }
  narrow_limit = static_cast<int32_t>(limit);
  return true;
}

}  // namespace pylatent::exact
