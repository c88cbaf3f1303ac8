// Activations between layers, and their ways in, out, and to the kernels.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <vector>

#include "common/parallel.h"
#include "exact_conv/aligned.h"
#include "exact_conv/exact_conv.h"

namespace pylatent::exact {

constexpr double kCopy = 1;  // nanoseconds to convert an activation

// Activations of some images: int32 (image, row, column, channel), channels in whole units, those without meaning zero;
// and the largest magnitude in each image.
struct Activations {
  Size size;
  int64_t channels, pitch;
  Aligned<int32_t> values;
  std::vector<std::atomic<int32_t>> largest;

  Activations(int64_t images, Size size_, int64_t channels_)
      : size(size_),
        channels(channels_),
        pitch(round_up(channels_, kUnit)),
        values(allocate<int32_t>(images * size_.area() * pitch)),
        largest(static_cast<size_t>(images)) {
    for (std::atomic<int32_t>& most : largest) most.store(0, std::memory_order_relaxed);
  }

  double count() const { return static_cast<double>(images() * size.area() * pitch); }
  int64_t images() const { return static_cast<int64_t>(largest.size()); }
  int32_t* at(int64_t image, int64_t row, int64_t column) const {
    return values.get() + ((image * size.height + row) * size.width + column) * pitch;
  }
  void see(int64_t image, int32_t magnitude) {
    std::atomic<int32_t>& most = largest[static_cast<size_t>(image)];
    int32_t seen = most.load(std::memory_order_relaxed);
    while (seen < magnitude && !most.compare_exchange_weak(seen, magnitude, std::memory_order_relaxed)) {
    }
  }
};

// The top left `to.size` of images as integers within +-kLimit; false if they are not integers.
inline bool import_images(const double* from, const Images& images, Activations& to, int threads) {
  std::atomic<bool> whole{true};
  parallel_for(to.images() * to.size.height, kCopy * to.count(), threads, [&](int64_t task) {
    const int64_t image = task / to.size.height, row = task % to.size.height;
    int32_t* out = to.at(image, row, 0);
    std::fill_n(out, to.size.width * to.pitch, 0);
    int32_t largest = 0;
    bool all = true;
    for (int64_t channel = 0; channel < to.channels; ++channel) {
      const double* in = from + ((image * images.channels + channel) * images.size.height + row) * images.size.width;
      for (int64_t column = 0; column < to.size.width; ++column) {
        const double bounded = in[column] < kLimit ? (in[column] > -kLimit ? in[column] : -kLimit) : kLimit;
        const int32_t value = static_cast<int32_t>(bounded);
        all = all && (value == in[column] || std::abs(in[column]) > kLimit);
        out[column * to.pitch + channel] = value;
        largest = std::max(largest, std::abs(value));
      }
    }
    to.see(image, largest);
    if (!all) whole.store(false, std::memory_order_relaxed);
  });
  return whole.load();
}

// The images as (image, channel, row, column).
template <class T>
void export_images(const Activations& from, T* to, int threads) {
  const int64_t height = from.size.height, width = from.size.width;
  parallel_for(from.images() * height, kCopy * from.count(), threads, [&](int64_t task) {
    const int64_t image = task / height, row = task % height;
    for (int64_t first = 0; first < from.channels; first += kUnit) {
      const int64_t count = std::min<int64_t>(kUnit, from.channels - first);
      T* out = to + ((image * from.channels + first) * height + row) * width;
      for (int64_t column = 0; column < width; ++column) {
        const int32_t* in = from.at(image, row, column) + first;
        for (int64_t j = 0; j < count; ++j) out[j * height * width + column] = static_cast<T>(in[j]);
      }
    }
  });
}

// Row `row` of an image as the kernels read it: A, channels made even, with a border of zeros. `value` makes an A.
template <class A, class Fn>
void stage(const Activations& from, int64_t image, const Border& border, int64_t channels, int64_t row, A* out,
           Fn&& value) {
  const int64_t width = border.left + from.size.width + border.right, source = row - border.top;
  if (source < 0 || source >= from.size.height) {
    std::fill_n(out, width * channels, A{0});
    return;
  }
  out = std::fill_n(out, border.left * channels, A{0});
  for (int64_t column = 0; column < from.size.width; ++column, out += channels) {
    const int32_t* in = from.at(image, source, column);
    for (int64_t channel = 0; channel < channels; ++channel) out[channel] = static_cast<A>(value(in[channel]));
  }
  std::fill_n(out, border.right * channels, A{0});
}

// a = high 2^kSplitBits + low
inline int32_t high_part(int32_t a) { return a >> kSplitBits; }
inline int32_t low_part(int32_t a) { return a & ((1 << kSplitBits) - 1); }

}  // namespace pylatent::exact
