// Activations of which some rows are kept: those that are still to be read.
#pragma once

#include <algorithm>
#include <cstdint>

#include "integer_conv/aligned.h"
#include "integer_conv/conv_geometry.h"
#include "integer_conv/conv_kernel.h"

namespace pylatent::integers {

// [row][column][channel], with columns of zeros to the left and the right; channels in multiples of kPad. Row r is kept
// in place r mod `capacity`. T: int16_t, or int32_t of what no layer reads.
template <class T>
class Rows {
 public:
  Rows(Size size, int64_t channels, int64_t capacity, int64_t left, int64_t right)
      : size_(size),
        channels_(channels),
        pitch_(round_up(channels, kPad)),
        stride_((left + size.width + right) * pitch_),
        capacity_(capacity),
        first_(left * pitch_),
        values_(allocate<T>((capacity + 1) * stride_)) {
    std::fill_n(values_.get(), (capacity + 1) * stride_, T{0});
  }

  Size size() const { return size_; }
  int64_t channels() const { return channels_; }
  int64_t pitch() const { return pitch_; }
  int64_t stride() const { return stride_; }
  // Column 0 of a row; of one above or below the picture, zeros.
  T* row(int64_t number) const {
    const bool inside = number >= 0 && number < size_.height;
    return values_.get() + (inside ? number % capacity_ : capacity_) * stride_ + first_;
  }

 private:
  Size size_;
  int64_t channels_, pitch_, stride_, capacity_, first_;
  Aligned<T> values_;
};

}  // namespace pylatent::integers
