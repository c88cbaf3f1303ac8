// How the CUDA kernels of the deformable convolution sample: LANES threads take a sample, 16 bytes of channels each.
#pragma once

#include "common/device.h"
#include "deform_conv2d/deform_conv2d_cuda.h"

namespace pylatent::deform_conv2d {

constexpr int THREADS = 256;
constexpr int LANES = 8;  // read 128 bytes of a corner at once
constexpr int RUN = 16;   // pixels in a row that take turns at a tap: their offsets lie side by side

// Numbers stored as float or as T, or not there.
template <class T>
struct Given {
  Global<const float> wide;
  Global<const T> narrow;

  __device__ explicit operator bool() const { return wide || narrow; }
  __device__ float at(int64_t i) const { return wide ? float{wide[i]} : to_float(narrow[i]); }
};

template <class T>
struct Result {
  Global<float> wide;
  Global<T> narrow;

  __device__ explicit operator bool() const { return wide || narrow; }
  __device__ void set(int64_t i, float x) const {
    if (wide) {
      wide[i] = x;
    } else {
      narrow[i] = from_float<T>(x);
    }
  }
};

// The tile, whose samples come in this order: RUN pixels at the first tap, the same pixels at the next, and so on.
struct Pixels {
  int first, count;
};

struct Sample {
  int row, tap;  // the row is a pixel of the tile, or beyond its end
};

__device__ __forceinline__ Sample sample_of_thread(int passes, int pass, int taps) {
  const int index = (static_cast<int>(blockIdx.x) * passes + pass) * (THREADS / LANES) + threadIdx.x / LANES;
  const int run = index / (RUN * taps), within = index - run * (RUN * taps);
  return {run * RUN + within % RUN, within / RUN};
}

// An output pixel; image -1: none.
struct Pixel {
  int image, y, x;
};

__device__ __forceinline__ Pixel output_pixel(const DeformConv2dSizes& s, Pixels tile, int row) {
  if (row >= tile.count) return {-1, 0, 0};
  const int index = tile.first + row, per_image = s.out_h * s.out_w, image = index / per_image;
  const int rest = index - image * per_image, y = rest / s.out_w;
  return {image, y, rest - y * s.out_w};
}

// Where the offset's x, y and the mask of a sample lie.
struct Place {
  int64_t y, x, mask;

  __device__ __forceinline__ Place(const DeformConv2dSizes& s, Pixel p, int offset_group, int tap) {
    const int64_t plane = int64_t{s.out_h} * s.out_w, at = int64_t{p.y} * s.out_w + p.x;
    const int64_t index = (int64_t{p.image} * s.offset_groups + offset_group) * (s.kernel_h * s.kernel_w) + tap;
    y = 2 * index * plane + at;
    x = y + plane;
    mask = index * plane + at;
  }
};

// The corners top left, top right, bottom left, bottom right: input pixels, counted over the batch, -1 for those
// outside the picture. `down` and `right` say how far the sample is from the first.
struct Corners {
  Vec<int, 4> pixel;
  float down, right;

  __device__ __forceinline__ Vec<float, 4> weights(float factor) const {
    const float upper = (1 - down) * factor, lower = down * factor;
    return {{upper * (1 - right), upper * right, lower * (1 - right), lower * right}};
  }
};

__device__ __forceinline__ Corners corners(const DeformConv2dSizes& s, Pixel p, int tap, float offset_y,
                                           float offset_x) {
  const int tap_y = tap / s.kernel_w, tap_x = tap - tap_y * s.kernel_w;
  const float y = static_cast<float>(p.y * s.stride_h - s.pad_h + tap_y * s.dilation_h) + offset_y;
  const float x = static_cast<float>(p.x * s.stride_w - s.pad_w + tap_x * s.dilation_w) + offset_x;
  Corners c = {{{-1, -1, -1, -1}}, 0, 0};
  // False for NaN too.
  if (y >= -1 && y < static_cast<float>(s.in_h) && x >= -1 && x < static_cast<float>(s.in_w)) {
    const float top = floorf(y), left = floorf(x);
    const int row = static_cast<int>(top), column = static_cast<int>(left);
    const int first = (p.image * s.in_h + row) * s.in_w + column;
    if (row >= 0 && column >= 0) c.pixel[0] = first;
    if (row >= 0 && column + 1 < s.in_w) c.pixel[1] = first + 1;
    if (row + 1 < s.in_h && column >= 0) c.pixel[2] = first + s.in_w;
    if (row + 1 < s.in_h && column + 1 < s.in_w) c.pixel[3] = first + s.in_w + 1;
    c.down = y - top;
    c.right = x - left;
  }
  return c;
}

// The first of a segment's channels among the columns.
__device__ __forceinline__ int64_t column(const DeformConv2dSizes& s, Pixels tile, Sample at, int segment) {
  const int per_group = s.segments / s.groups, group = segment / per_group, taps = s.kernel_h * s.kernel_w;
  const int64_t row = (int64_t{group} * tile.count + at.row) * taps + at.tap;
  return (row * per_group + (segment - group * per_group)) * s.segment;
}

// 16 bytes of channels at the four corners of a sample.
template <class T>
struct Gathered {
  static constexpr int VEC = 16 / sizeof(T);
  Vec<T, VEC> corner[4];

  __device__ __forceinline__ void load(Global<const T> channels, const Corners& c, int64_t pixel_stride) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      corner[k] = c.pixel[k] >= 0 ? load_vec<VEC>(channels + c.pixel[k] * pixel_stride)
                                  : bit_cast<Vec<T, VEC>>(Vec<uint32_t, 4>{{0, 0, 0, 0}});
    }
  }

  // Elements 2 i and 2 i + 1 at corner k.
  __device__ __forceinline__ Vec<float, 2> pair(int k, int i) const {
    return to_floats(Vec<T, 2>{{corner[k][2 * i], corner[k][2 * i + 1]}});
  }

  __device__ __forceinline__ Vec<T, VEC> interpolate(const Vec<float, 4>& weight) const {
    Vec<T, VEC> out;
#pragma unroll
    for (int i = 0; i < VEC / 2; ++i) {
      float first = 0, second = 0;
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const Vec<float, 2> both = pair(k, i);
        first += weight[k] * both[0];
        second += weight[k] * both[1];
      }
      const Vec<T, 2> rounded = from_floats<T>(first, second);
      out[2 * i] = rounded[0];
      out[2 * i + 1] = rounded[1];
    }
    return out;
  }
};

}  // namespace pylatent::deform_conv2d
