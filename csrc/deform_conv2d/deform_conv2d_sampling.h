// Sampling for the kernels of the deformable convolution: where the four corners of a sample lie and what they weigh is
// computed once per pixel, tap and offset group, for all channels.
#pragma once

#include "common/device.h"
#include "deform_conv2d/deform_conv2d_cuda.h"

namespace pylatent::deform_conv2d {

// An output pixel; image -1: none.
struct Pixel {
  int image, y, x;
};

// Indices a tile beyond the last, which is less than 2^31, are fine.
__device__ __forceinline__ Pixel output_pixel(const DeformConv2dSizes& s, unsigned index) {
  const unsigned per_image = static_cast<unsigned>(s.out_h) * s.out_w, image = index / per_image;
  if (image >= static_cast<unsigned>(s.batch)) return {-1, 0, 0};
  const unsigned rest = index % per_image, y = rest / s.out_w;
  return {static_cast<int>(image), static_cast<int>(y), static_cast<int>(rest - y * s.out_w)};
}

// What the tensors say of a sample.
struct Displacement {
  float y, x, mask;
};

__device__ __forceinline__ Displacement load_displacement(const DeformConv2dSizes& s, Global<const float> offset,
                                                          Global<const float> mask, Pixel p, int offset_group,
                                                          int tap) {
  if (p.image < 0) return {0, 0, 0};
  const int64_t plane = int64_t{s.out_h} * s.out_w, at = int64_t{p.y} * s.out_w + p.x;
  const int64_t index = (int64_t{p.image} * s.offset_groups + offset_group) * (s.kernel_h * s.kernel_w) + tap;
  return {offset[2 * index * plane + at], offset[(2 * index + 1) * plane + at], mask ? mask[index * plane + at] : 1.f};
}

// The corners top left, top right, bottom left, bottom right: input pixels, counted over the batch, -1 for those
// outside the picture. `down` and `right` say how far the sample is from the first.
struct Corners {
  Vec<int, 4> pixel;
  float down, right;
};

__device__ __forceinline__ Corners corners(const DeformConv2dSizes& s, Pixel p, int tap, Displacement d) {
  const float y = static_cast<float>(p.y * s.stride_h - s.pad_h + tap / s.kernel_w * s.dilation_h) + d.y;
  const float x = static_cast<float>(p.x * s.stride_w - s.pad_w + tap % s.kernel_w * s.dilation_w) + d.x;
  Corners c = {{{-1, -1, -1, -1}}, 0, 0};
  // False for NaN too.
  if (p.image >= 0 && y >= -1 && y < static_cast<float>(s.in_h) && x >= -1 && x < static_cast<float>(s.in_w)) {
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

__device__ __forceinline__ Vec<float, 4> corner_weights(float down, float right, float factor) {
  const float upper = (1 - down) * factor, lower = down * factor;
  return {{upper * (1 - right), upper * right, lower * (1 - right), lower * right}};
}

// The corners of the rows of a tile, in shared memory. The weights include the mask.
struct Plan {
  Shared<int> pixels;
  Shared<float> weights;

  __device__ void write(int row, const Corners& c, float mask) const {
    store_vec(pixels + 4 * row, c.pixel);
    store_vec(weights + 4 * row, corner_weights(c.down, c.right, mask));
  }
};

// 16 bytes of channels at the four corners of a sample.
template <class T>
struct Gathered {
  static constexpr int VEC = 16 / sizeof(T);
  Vec<T, VEC> corner[4];

  __device__ __forceinline__ void load(const Plan& plan, int row, Global<const T> channels, int64_t pixel_stride,
                                       bool valid) {
    const Vec<int, 4> pixels = load_vec<4>(plan.pixels + 4 * row);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      corner[k] = valid && pixels[k] >= 0 ? load_vec<VEC>(channels + pixels[k] * pixel_stride)
                                          : bit_cast<Vec<T, VEC>>(Vec<uint32_t, 4>{{0, 0, 0, 0}});
    }
  }

  __device__ __forceinline__ Vec<T, VEC> interpolate(const Plan& plan, int row) const {
    const Vec<float, 4> weight = load_vec<4>(plan.weights + 4 * row);
    Vec<T, VEC> out;
#pragma unroll
    for (int i = 0; i < VEC; ++i) {
      float sum = 0;
#pragma unroll
      for (int k = 0; k < 4; ++k) sum += weight[k] * to_float(corner[k][i]);
      out[i] = from_float<T>(sum);
    }
    return out;
  }
};

}  // namespace pylatent::deform_conv2d
