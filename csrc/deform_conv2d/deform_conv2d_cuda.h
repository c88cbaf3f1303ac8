// CUDA kernels of the deformable convolution: what surrounds its matrix products, which are torch's. They fill or
// consume tiles of columns, the samples of some output pixels, small enough to stay in the L2 cache.
//
// Layouts, all contiguous (pylatent/ops/_deform_conv2d_cuda.py arranges them). A segment is a run of channels that
// share group and offset group, padded with zeros to a multiple of 16 bytes:
//   input, its gradient   [batch][in_h][in_w][segments][segment]           channels last
//   offset, its gradient  [batch][offset_groups][taps][2][out_h][out_w]
//   mask, its gradient    [batch][offset_groups][taps][out_h][out_w]
//   columns               [groups][pixels of the tile][taps][segments of the group][segment]
// Columns have the input's type; offsets, masks and their gradients have that type or are float.
#pragma once

#include <array>
#include <cstdint>

namespace pylatent {

struct DeformConv2dSizes {
  int batch, in_h, in_w, out_h, out_w;
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int groups, offset_groups, segments;
  int segment;  // padded channels of a segment
};

// The members of DeformConv2dSizes in their order.
using DeformConv2dShape = std::array<int64_t, 17>;

struct DeformConv2dPlan {
  DeformConv2dShape shape;
  std::array<int64_t, 2> pixels;  // the tile: first output pixel, counted over the batch, and how many
  std::array<int, 3> dtypes;      // of input, offset and mask
  int device;
  uintptr_t stream;
};

// columns = mask times the samples of input. A null `mask` stands for ones.
void deform_conv2d_cuda_gather(uintptr_t input, uintptr_t offset, uintptr_t mask, uintptr_t columns,
                               const DeformConv2dPlan& plan);

// From the gradient of the columns: those of input, offset and mask, null for what is not needed. With `keep`, the
// columns take the place of their gradient. `grad_input` is float and added to, or, with `scale` (one float, a power of
// two), int64 in units of 1 / scale, so that the order of the sums does not matter.
void deform_conv2d_cuda_scatter(uintptr_t input, uintptr_t offset, uintptr_t mask, uintptr_t columns, bool keep,
                                uintptr_t scale, uintptr_t grad_input, uintptr_t grad_offset, uintptr_t grad_mask,
                                const DeformConv2dPlan& plan);

}  // namespace pylatent
