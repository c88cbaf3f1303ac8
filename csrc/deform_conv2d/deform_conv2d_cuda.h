// CUDA kernels of the deformable convolution: implicit GEMMs whose columns exist only as tiles in shared memory.
//
// Layouts, all contiguous and zero-padded where said (pylatent/ops/_deform_conv2d_cuda.py arranges them):
//   input, its gradient   [batch][in_h][in_w][segments][segment]        channels last; a segment is a run of channels
//   that
//                                                                       share group and offset group, padded to 16
//                                                                       bytes
//   offset, its gradient  [batch][offset_groups][taps][2][out_h][out_w] float
//   mask, its gradient    [batch][offset_groups][taps][out_h][out_w]    float
//   weight, its gradient  [segments][taps][segment][outputs]            outputs of the segment's group, padded to 16
//   bytes grad_output           [batch][out_h][out_w][groups][outputs]        padded likewise
//
// They move more bytes than the tensors have, from and to the caches: a pixel of the input is a corner of 4 * taps
// samples, read for each of them again and, backward, added to for each (compute capability 9.0 adds four floats at
// once), and every tile of rows reads all weights. The column buffer that this replaces has taps times the size of the
// input and passes through memory three times.
#pragma once

#include <array>
#include <cstdint>

namespace pylatent {

struct DeformConv2dSizes {
  int batch, in_h, in_w, out_h, out_w;
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int groups, offset_groups, segments;
  int segment;  // padded channels of a segment
  int outputs;  // padded output channels of a group
};

// The members of DeformConv2dSizes in their order.
using DeformConv2dShape = std::array<int64_t, 18>;

// How float32 is multiplied (half dtypes have one way): rounded to TF32, or split into two TF32 numbers and multiplied
// in three products, which loses only what is smaller than 2^-21 of each product.
enum class Float32Product { tf32 = 0, split = 1 };

// `output` has shape (batch, channels, pixel) with these strides and `output_channels` channels, not padded. `tile` is
// an index of the kernel's tile sizes, or -1 for the one that should be fastest. Null `mask` and `bias` are absent.
void deform_conv2d_cuda_forward(uintptr_t input, uintptr_t offset, uintptr_t mask, uintptr_t weight, uintptr_t bias,
                                uintptr_t output, const DeformConv2dShape& shape, int64_t output_channels,
                                const std::array<int64_t, 3>& output_strides, int dtype, int product, int tile,
                                int device, uintptr_t stream);

// The gradients of input, offset and mask; null for what is not needed. `grad_input` is float and added to, or, with
// `scale` (one float, a power of two), int64 in units of 1 / scale, so that the order of the sums does not matter.
void deform_conv2d_cuda_backward(uintptr_t grad_output, uintptr_t input, uintptr_t offset, uintptr_t mask,
                                 uintptr_t weight, uintptr_t scale, uintptr_t grad_input, uintptr_t grad_offset,
                                 uintptr_t grad_mask, const DeformConv2dShape& shape, int dtype, int product, int tile,
                                 int device, uintptr_t stream);

// The gradient of weight as `splits` partial sums of floats, [splits] before the layout of weight.
void deform_conv2d_cuda_backward_weight(uintptr_t grad_output, uintptr_t input, uintptr_t offset, uintptr_t mask,
                                        uintptr_t grad_weight, int64_t splits, const DeformConv2dShape& shape,
                                        int dtype, int product, int tile, int device, uintptr_t stream);

// How many partial sums keep the device busy.
int64_t deform_conv2d_cuda_weight_splits(const DeformConv2dShape& shape, int dtype, int product, int tile, int device);

}  // namespace pylatent
