// Activations between layers, and their ways in, out, and to the kernels.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <memory>

#include "common/parallel.h"
#include "exact_conv/exact_layer.h"

namespace pylatent::exact {

constexpr double kCopy = 1;  // nanoseconds to convert an activation

// Activations of an image: int32 (row, column, channel), channels in whole units, those without meaning zero; and their
// largest magnitude.
class Activations {
 public:
  Size size;
  int64_t channels, pitch;

  Activations(Size size_, int64_t channels_)
      : size(size_),
        channels(channels_),
        pitch(round_up(channels_, kUnit)),
        values_(allocate<int32_t>(size_.area() * pitch)),
        largest_(std::make_unique<std::atomic<int32_t>>(0)) {}

  double count() const { return static_cast<double>(size.area() * pitch); }
  int32_t* at(int64_t row, int64_t column) const { return values_.get() + (row * size.width + column) * pitch; }
  int32_t largest() const { return largest_->load(std::memory_order_relaxed); }
  void see(int32_t magnitude) {
    int32_t seen = largest();
    while (seen < magnitude && !largest_->compare_exchange_weak(seen, magnitude, std::memory_order_relaxed)) {
    }
  }

 private:
  Aligned<int32_t> values_;
  std::unique_ptr<std::atomic<int32_t>> largest_;
};

// The top left `to.size` of an image of `size` as integers within +-kLimit; false if they are not integers.
inline bool import_image(const double* from, Size size, Activations& to, int threads) {
  std::atomic<bool> whole{true};
  parallel_for(to.size.height, kCopy * to.count(), threads, [&](int64_t row) {
    int32_t* out = to.at(row, 0);
    std::fill_n(out, to.size.width * to.pitch, 0);
    int32_t largest = 0;
    bool all = true;
    for (int64_t channel = 0; channel < to.channels; ++channel) {
      const double* in = from + (channel * size.height + row) * size.width;
      for (int64_t column = 0; column < to.size.width; ++column) {
        const double bounded = in[column] < kLimit ? (in[column] > -kLimit ? in[column] : -kLimit) : kLimit;
        const int32_t value = static_cast<int32_t>(bounded);
        all = all && (value == in[column] || std::abs(in[column]) > kLimit);
        out[column * to.pitch + channel] = value;
        largest = std::max(largest, std::abs(value));
      }
    }
    to.see(largest);
    if (!all) whole.store(false, std::memory_order_relaxed);
  });
  return whole.load();
}

// The image as (channel, row, column).
template <class T>
void export_image(const Activations& from, T* to, int threads) {
  const int64_t height = from.size.height, width = from.size.width;
  parallel_for(height, kCopy * from.count(), threads, [&](int64_t row) {
    for (int64_t first = 0; first < from.channels; first += kUnit) {
      const int64_t count = std::min<int64_t>(kUnit, from.channels - first);
      T* out = to + (first * height + row) * width;
      for (int64_t column = 0; column < width; ++column) {
        const int32_t* in = from.at(row, column) + first;
        for (int64_t j = 0; j < count; ++j) out[j * height * width + column] = static_cast<T>(in[j]);
      }
    }
  });
}

// Row `row` of the image as the kernels read it: A, channels made even, with a border of zeros. `value` makes an A.
template <class A, class Fn>
void stage(const Activations& from, const Border& border, int64_t channels, int64_t row, A* out, Fn&& value) {
  const int64_t width = border.left + from.size.width + border.right, source = row - border.top;
  if (source < 0 || source >= from.size.height) {
    std::fill_n(out, width * channels, A{0});
    return;
  }
  out = std::fill_n(out, border.left * channels, A{0});
  for (int64_t column = 0; column < from.size.width; ++column, out += channels) {
    const int32_t* in = from.at(source, column);
    for (int64_t channel = 0; channel < channels; ++channel) out[channel] = static_cast<A>(value(in[channel]));
  }
  std::fill_n(out, border.right * channels, A{0});
}

// a = high 2^kSplitBits + low
inline int32_t high_part(int32_t a) { return a >> kSplitBits; }
inline int32_t low_part(int32_t a) { return a & ((1 << kSplitBits) - 1); }

}  // namespace pylatent::exact
