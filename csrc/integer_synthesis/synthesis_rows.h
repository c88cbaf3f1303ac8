// Activations of which some rows are kept: those that are still to be read.
#pragma once

#include <algorithm>
#include <cstdint>

#include "integer_synthesis/synthesis_layer.h"

namespace pylatent::integers {

struct Size {
  int64_t height, width;
};

// int16 [row][column][channel], with zeros around: channels in multiples of kPad, a column to the left, and three to
// the right, since tiles may begin in the last one. Row r is kept in place r mod `capacity`.
class Rows {
 public:
  Rows(Size size, int64_t channels, int64_t capacity)
      : size_(size),
        pitch_(round_up(channels, kPad)),
        stride_((size.width + 4) * pitch_),
        capacity_(capacity),
        values_(allocate<int16_t>((capacity + 1) * stride_)) {
    std::fill_n(values_.get(), (capacity + 1) * stride_, int16_t{0});
  }

  int64_t pitch() const { return pitch_; }
  int64_t stride() const { return stride_; }
  // Column 0 of a row; of one above or below the picture, zeros.
  int16_t* row(int64_t number) const {
    const bool inside = number >= 0 && number < size_.height;
    return values_.get() + (inside ? number % capacity_ : capacity_) * stride_ + pitch_;
  }

 private:
  Size size_;
  int64_t pitch_, stride_, capacity_;
  Aligned<int16_t> values_;
};

}  // namespace pylatent::integers
