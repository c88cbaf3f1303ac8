// Where the samples of a group of outputs lie, computed once for all channels. In an anonymous namespace, as
// deform_conv2d_cpu_kernel.h, which includes this.
#pragma once

#include "deform_conv2d/deform_conv2d_cpu.h"

namespace pylatent::deform_conv2d {
namespace {

constexpr int kGroup = 16;  // outputs whose coordinates are computed together: the compiler vectorises these loops

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// A group of up to kGroup consecutive outputs of the tile, and where tap (0, 0) of each looks without an offset.
template <class T>
struct Group {
  int64_t first;  // output within the tile
  int count;
  T y[kGroup], x[kGroup];

  Group(const Tile<T>& tile, int64_t first_, int64_t end)
      : first(first_), count(static_cast<int>(least(kGroup, end - first_))) {
    const Geometry& g = tile.geometry;
    int64_t row = (tile.first_pixel + first) / g.out_width, column = (tile.first_pixel + first) % g.out_width;
    for (int i = 0; i < kGroup; ++i) {
      y[i] = static_cast<T>(row * g.stride_height - g.padding_height);
      x[i] = static_cast<T>(column * g.stride_width - g.padding_width);
      if (++column == g.out_width) {
        column = 0;
        ++row;
      }
    }
  }
};

// Where the samples of a group lie for one tap and offset group. Corners: top left, top right, bottom left, bottom
// right.
template <class T>
struct Plan {
  int32_t at[4][kGroup];  // pixel of the input; height * width, the zero row, if the corner is outside the picture
  T weight[4][kGroup];    // bilinear, without the mask
  T down[kGroup], right[kGroup];
  T mask[kGroup];

  Plan(const Tile<T>& tile, const Group<T>& group, int64_t offset_group, int64_t tap) {
    const Geometry& g = tile.geometry;
    const int64_t outputs = g.out_height * g.out_width, taps = g.kernel_height * g.kernel_width;
    const int64_t plane = offset_group * taps + tap, output = tile.first_pixel + group.first;
    T dy[kGroup], dx[kGroup];
    read(tile.offset + 2 * plane * outputs + output, group.count, dy);
    read(tile.offset + (2 * plane + 1) * outputs + output, group.count, dx);
    if (tile.mask != nullptr) {
      read(tile.mask + plane * outputs + output, group.count, mask);
    } else {
      for (int i = 0; i < kGroup; ++i) mask[i] = 1;
    }
    const T tap_y = static_cast<T>(tap / g.kernel_width * g.dilation_height);
    const T tap_x = static_cast<T>(tap % g.kernel_width * g.dilation_width);
    const int32_t height = static_cast<int32_t>(g.height), width = static_cast<int32_t>(g.width);
    const int32_t zero = height * width;
    const T limit_y = static_cast<T>(height), limit_x = static_cast<T>(width);
    for (int i = 0; i < kGroup; ++i) {
      T y = group.y[i] + tap_y + dy[i], x = group.x[i] + tap_x + dx[i];
      const bool counts = (y >= -1) & (y < limit_y) & (x >= -1) & (x < limit_x);  // not if NaN
      y = counts ? y : T(-2);
      x = counts ? x : T(-2);
      const int32_t cut_y = static_cast<int32_t>(y), cut_x = static_cast<int32_t>(x);  // rounded towards zero
      const int32_t top = cut_y - (static_cast<T>(cut_y) > y), left = cut_x - (static_cast<T>(cut_x) > x);
      const T d = y - static_cast<T>(top), r = x - static_cast<T>(left);
      const bool has_top = top >= 0, has_bottom = (top >= -1) & (top + 1 < height);
      const bool has_left = left >= 0, has_right = (left >= -1) & (left + 1 < width);
      const int32_t corner = top * width + left;
      at[0][i] = has_top & has_left ? corner : zero;
      at[1][i] = has_top & has_right ? corner + 1 : zero;
      at[2][i] = has_bottom & has_left ? corner + width : zero;
      at[3][i] = has_bottom & has_right ? corner + width + 1 : zero;
      down[i] = d;
      right[i] = r;
      weight[0][i] = (1 - d) * (1 - r);
      weight[1][i] = (1 - d) * r;
      weight[2][i] = d * (1 - r);
      weight[3][i] = d * r;
    }
  }

 private:
  static void read(const T* from, int count, T* to) {
    if (count == kGroup) {
      for (int i = 0; i < kGroup; ++i) to[i] = from[i];
    } else {
      for (int i = 0; i < kGroup; ++i) to[i] = i < count ? from[i] : T(0);
    }
  }
};

// fn(index among the offset groups of the block, offset group, begin, end) for the channels [begin, end) of the block.
template <class T, class Fn>
void each_offset_group(const Tile<T>& tile, int64_t begin, int64_t end, Fn fn) {
  const int64_t size = tile.channels_per_offset_group, first = tile.first_channel;
  while (begin < end) {
    const int64_t group = (first + begin) / size;
    const int64_t stop = least(end, (group + 1) * size - first);
    fn(group - first / size, group, begin, stop);
    begin = stop;
  }
}

}  // namespace
}  // namespace pylatent::deform_conv2d
