#include "integer_conv/conv_geometry.h"

#include <algorithm>
#include <utility>

#include "common/checks.h"

namespace pylatent::integers {
namespace {

// How much of `extent` is read by outputs 0 to last - 1 of a side, taps being at most `tap` further.
int64_t read_end(int64_t outputs, int64_t step, int64_t tap) { return (outputs - 1) * step + tap + 1; }

}  // namespace

Geometry::Geometry(const ConvShape& shape_)
    : shape(shape_), in_step(shape_.transposed ? 1 : shape_.stride), out_step(shape_.transposed ? shape_.stride : 1) {
  constexpr int64_t kMost = 1 << 20;
  for (int64_t extent : {shape.inputs, shape.outputs, shape.kernel_h, shape.kernel_w, shape.stride}) {
    check_range("a size of a layer", extent, 1, kMost);
  }
  check_range("padding", shape.padding, 0, kMost);
  check_range("output_padding", shape.output_padding, 0, shape.transposed ? shape.stride - 1 : 0);
  int64_t before = 0;
  for (int64_t row = 0; row < out_step; ++row) {
    for (int64_t column = 0; column < out_step; ++column) {
      Phase phase{row, column, {}, before};
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
      before += static_cast<int64_t>(phase.taps.size());
      phases.push_back(std::move(phase));
    }
  }
}

int64_t Geometry::weight_of(int64_t output, int64_t input, const Phase& phase, const Tap& tap) const {
  int64_t y = tap.row + shape.padding, x = tap.column + shape.padding;
  int64_t pair = output * shape.inputs + input;
  if (shape.transposed) {
    y = phase.row + shape.padding - tap.row * out_step;
    x = phase.column + shape.padding - tap.column * out_step;
    pair = input * shape.outputs + output;
  }
  return (pair * shape.kernel_h + y) * shape.kernel_w + x;
}

Size Geometry::output_size(Size input) const {
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

Size Geometry::phase_size(const Phase& phase, Size output) const {
  const auto side = [&](int64_t length, int64_t first) {
    return length <= first ? int64_t{0} : (length - first - 1) / out_step + 1;
  };
  return {side(output.height, phase.row), side(output.width, phase.column)};
}

Border Geometry::border(Size input, Size output) const {
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

Size Geometry::needed_input(Size input, Size output) const {
  const Border beyond = border({0, 0}, output);
  return {std::clamp<int64_t>(beyond.bottom, 1, input.height), std::clamp<int64_t>(beyond.right, 1, input.width)};
}

}  // namespace pylatent::integers
