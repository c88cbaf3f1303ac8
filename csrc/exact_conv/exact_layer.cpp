#include "exact_conv/exact_layer.h"

#include <algorithm>
#include <cstdlib>

#include "common/checks.h"

namespace pylatent::exact {
namespace {

// How much of `extent` is read by outputs 0 to last - 1 of a side, taps being at most `tap` further.
int64_t read_end(int64_t outputs, int64_t step, int64_t tap) { return (outputs - 1) * step + tap + 1; }

}  // namespace

Layer::Layer(const LayerShape& shape_, const int32_t* weight, const int64_t* bias_, int32_t slope_)
    : shape(shape_),
      slope(slope_),
      channels(round_up(shape_.inputs, 2)),
      pitch(round_up(shape_.outputs, kUnit)),
      in_step(shape_.transposed ? 1 : shape_.stride),
      out_step(shape_.transposed ? shape_.stride : 1) {
  check_range("slope", slope, 0, 1 << kSlopeBits);
  constexpr int64_t kMost = 1 << 20;
  for (int64_t extent : {shape.inputs, shape.outputs, shape.kernel_h, shape.kernel_w, shape.stride}) {
    check_range("a size of a layer", extent, 1, kMost);
  }
  check_range("padding", shape.padding, 0, kMost);
  check_range("output_padding", shape.output_padding, 0, shape.transposed ? shape.stride - 1 : 0);
  find_phases();
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

void Layer::find_phases() {
  int64_t weights = 0;
  for (int64_t row = 0; row < out_step; ++row) {
    for (int64_t column = 0; column < out_step; ++column) {
      Phase phase{row, column, {}, weights};
      for (int64_t y = 0; y < shape.kernel_h; ++y) {
        for (int64_t x = 0; x < shape.kernel_w; ++x) {
          if (!shape.transposed) {
            phase.taps.push_back({y - shape.padding, x - shape.padding});
            continue;
          }
          const int64_t dy = row + shape.padding - y, dx = column + shape.padding - x;
          if (dy % out_step == 0 && dx % out_step == 0) phase.taps.push_back({dy / out_step, dx / out_step});
        }
      }
      weights += static_cast<int64_t>(phase.taps.size()) * channels * pitch;
      phases.push_back(std::move(phase));
    }
  }
}

Tap Layer::kernel_position(const Phase& phase, const Tap& tap) const {
  if (!shape.transposed) return {tap.row + shape.padding, tap.column + shape.padding};
  return {phase.row + shape.padding - tap.row * out_step, phase.column + shape.padding - tap.column * out_step};
}

int64_t Layer::index(int64_t output, int64_t input, int64_t y, int64_t x) const {
  const int64_t pair = shape.transposed ? input * shape.outputs + output : output * shape.inputs + input;
  return (pair * shape.kernel_h + y) * shape.kernel_w + x;
}

template <class W>
Aligned<W> Layer::pack(const int32_t* weight) const {
  const Phase& last = phases.back();
  const int64_t count = last.first_weight + static_cast<int64_t>(last.taps.size()) * channels * pitch;
  Aligned<W> packed = allocate<W>(count);
  std::fill_n(packed.get(), count, W{0});
  for (const Phase& phase : phases) {
    for (const Block& block : blocks) {
      const int64_t width = block.units * kUnit, end = std::min(block.first + width, shape.outputs);
      W* to = packed.get() + weights_of(phase, block);
      for (const Tap& tap : phase.taps) {
        const auto [y, x] = kernel_position(phase, tap);
        for (int64_t input = 0; input < shape.inputs; ++input) {
          for (int64_t output = block.first; output < end; ++output) {
            to[(input / 2 * width + output - block.first) * 2 + input % 2] =
                static_cast<W>(weight[index(output, input, y, x)]);
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
        const auto [y, x] = kernel_position(phase, tap);
        for (int64_t input = 0; input < shape.inputs; ++input) {
          norm += std::abs(int64_t{weight[index(output, input, y, x)]});
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

Size Layer::output_size(Size input) const {
  const auto side = [&](int64_t length, int64_t kernel) {
    if (shape.transposed) return (length - 1) * shape.stride - 2 * shape.padding + kernel + shape.output_padding;
    const int64_t slack = length + 2 * shape.padding - kernel;
    return slack < 0 ? int64_t{0} : slack / shape.stride + 1;
  };
  const Size output{side(input.height, shape.kernel_h), side(input.width, shape.kernel_w)};
  check_range("height of a layer's output", output.height, 1, INT32_MAX);
  check_range("width of a layer's output", output.width, 1, INT32_MAX);
  return output;
}

Size Layer::phase_size(const Phase& phase, Size output) const {
  const auto side = [&](int64_t length, int64_t first) {
    return length <= first ? int64_t{0} : (length - first - 1) / out_step + 1;
  };
  return {side(output.height, phase.row), side(output.width, phase.column)};
}

Border Layer::border(Size input, Size output) const {
  Border border{0, 0, 0, 0};
  for (const Phase& phase : phases) {
    const Size size = phase_size(phase, output);
    if (size.area() == 0) continue;
    for (const Tap& tap : phase.taps) {
      border.top = std::max(border.top, -tap.row);
      border.left = std::max(border.left, -tap.column);
      border.bottom = std::max(border.bottom, read_end(size.height, in_step, tap.row) - input.height);
      border.right = std::max(border.right, read_end(size.width, in_step, tap.column) - input.width);
    }
  }
  return border;
}

Size Layer::needed_input(Size input, Size output) const {
  const Border beyond = border({0, 0}, output);
  return {std::clamp<int64_t>(beyond.bottom, 1, input.height), std::clamp<int64_t>(beyond.right, 1, input.width)};
}

}  // namespace pylatent::exact
