// Where the outputs of a convolution come from.
//
// A transposed convolution of stride s is s^2 ordinary ones, each of which gives the outputs of one phase (rows y with
// y mod s, columns x with x mod s) from the taps that meet it. An ordinary convolution is one phase.
#pragma once

#include <cstdint>
#include <vector>

namespace pylatent::integers {

constexpr int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

struct Size {
  int64_t height, width;
  int64_t area() const { return height * width; }
};

struct Tap {
  int64_t row, column;  // of the input that it multiplies, relative to the phase's pixel
};

struct Phase {
  int64_t row, column;  // of its first output
  std::vector<Tap> taps;
  int64_t taps_before;  // of the phases before it
};

// Zeros that surround an input.
struct Border {
  int64_t top, left, bottom, right;
};

// As in torch. Weights are (outputs, inputs, kernel_h, kernel_w), or (inputs, outputs, ...) if transposed.
struct ConvShape {
  int64_t inputs, outputs, kernel_h, kernel_w, stride, padding, output_padding;
  bool transposed;
};

class Geometry {
 public:
  // Throws std::invalid_argument.
  explicit Geometry(const ConvShape& shape);

  ConvShape shape;
  int64_t in_step, out_step;  // pixels of a phase are so far apart
  std::vector<Phase> phases;

  int64_t taps() const { return shape.kernel_h * shape.kernel_w; }
  Size output_size(Size input) const;                // of the whole output
  Size needed_input(Size input, Size output) const;  // the part of the input that the first `output` depend on
  Size phase_size(const Phase& phase, Size output) const;
  Border border(Size input, Size output) const;
  // Where the weight of an input and an output stands among all.
  int64_t weight_of(int64_t output, int64_t input, const Phase& phase, const Tap& tap) const;
};

}  // namespace pylatent::integers
