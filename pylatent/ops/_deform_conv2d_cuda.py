"""Deformable convolution on CUDA: arranges the tensors for the kernels of csrc/deform_conv2d/deform_conv2d_cuda.h.

Products of half types add up in float32. Products of float32 are rounded to TF32 where torch allows that for matrix
products (`torch.backends.cuda.matmul`), else they are made from three TF32 products, which is as exact as float32.
There is no kernel for float64, which tensor cores of this generation multiply too slowly to gain from.

The gradient of the input is a sum in an order that changes from run to run, unless deterministic algorithms are asked
for (`torch.use_deterministic_algorithms`): then it adds up as 64-bit integers, in steps of 2^-62 of its largest
possible value. All other results are the same in every run.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent import _native
from pylatent.ops._deform_conv2d_sizes import Pair, Sizes, empty_output, sizes

DTYPES = (torch.float32, torch.float16, torch.bfloat16)

# Groups are multiplied together, as one with a sparse weight, up to this many channels: a tile has at least 64 columns.
_LEAST_CHANNELS = 64

# The kernels' tile, or -1 for the one that should be fastest; for tests and measurements.
_TILE = -1


def forward(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Tensor:
    n = sizes(input, offset, weight, stride, padding, dilation)
    out = empty_output(input, (n.batch, n.out_channels, *n.out))
    if out.numel() == 0:
        return out
    if input.numel() == 0:
        return out.zero_() if bias is None else out.copy_(bias[:, None, None].expand_as(out))
    layout = Layout.of(n, input.dtype)
    tensors = [
        layout.pixels(input),
        offset.contiguous(),
        None if mask is None else mask.contiguous(),
        layout.weight(weight),
        None if bias is None else bias.contiguous(),
        out,
    ]
    _native.cuda_core().deform_conv2d_cuda_forward(
        *map(_pointer, tensors),
        layout.shape(stride, padding, dilation),
        n.out_channels,
        (out.stride(0), out.stride(1), out.stride(3)),
        *_how(input),
    )
    return out


def backward(
    grad: Tensor,
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    needed: tuple[bool, bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n = sizes(input, offset, weight, stride, padding, dilation)
    need_mask = needed[3] and mask is not None
    grad_input = empty_output(input, input.shape) if needed[0] else input.new_empty(0)
    grad_offset = offset.new_empty(offset.shape if needed[1] else (0,))
    grad_weight = weight.new_empty(weight.shape if needed[2] else (0,))
    grad_mask = offset.new_empty(mask.shape if need_mask and mask is not None else (0,))
    grads = (grad_input, grad_offset, grad_weight, grad_mask)
    if grad.numel() == 0 or input.numel() == 0:
        for result in grads:
            result.zero_()
        return grads
    layout = Layout.of(n, input.dtype)
    shape, core, how = layout.shape(stride, padding, dilation), _native.cuda_core(), _how(input)
    tensors = [
        layout.outputs_last(grad),
        layout.pixels(input),
        offset.contiguous(),
        None if mask is None else mask.contiguous(),
    ]
    if needed[0] or needed[1] or need_mask:
        scale = _fixed_point(grad, weight, mask, layout) if torch.are_deterministic_algorithms_enabled() else None
        total = (
            layout.empty_pixels(input, torch.float32 if scale is None else torch.int64).zero_() if needed[0] else None
        )
        results = [total, grad_offset if needed[1] else None, grad_mask if need_mask else None]
        tensors_and_results = [*tensors, layout.weight(weight), scale, *results]
        core.deform_conv2d_cuda_backward(*map(_pointer, tensors_and_results), shape, *how)
        if total is not None:
            grad_input.copy_(layout.from_pixels(total if scale is None else total / scale))
    if needed[2]:
        splits = core.deform_conv2d_cuda_weight_splits(shape, *how[:-1])
        parts = layout.empty_weights(weight, splits)
        core.deform_conv2d_cuda_backward_weight(*map(_pointer, [*tensors, parts]), splits, shape, *how)
        grad_weight.copy_(layout.from_weights(parts.sum(0)))
    return grads


def _fixed_point(grad: Tensor, weight: Tensor, mask: Tensor | None, layout: Layout) -> Tensor:
    """How many units a one has: a power of two with which no sum can overflow, on the device. NaN if a factor is NaN or
    infinite, so that all sums are NaN."""
    n = layout.n
    largest = grad.abs().amax().double() * weight.abs().amax() * (1 if mask is None else mask.abs().amax())
    bound = largest * (layout.outputs * n.taps * n.out[0] * n.out[1])
    scale = torch.exp2(torch.floor(62 - torch.log2(bound))).clamp(2.0**-126, 2.0**126)
    return torch.where(bound.isfinite(), scale, torch.nan).float()


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _how(input: Tensor) -> tuple[int, int, int, int, int]:
    """The last arguments of every kernel: dtype, float32 product (TF32 or split), tile, device and stream."""
    product = 0 if _native.tf32_allowed() else 1
    return _native.DTYPE_CODES[input.dtype], product, _TILE, _native.device_index(input), _native.stream(input)


class Layout(NamedTuple):
    """How the kernels see the tensors: groups merged, channels in segments, both padded to 16 bytes."""

    n: Sizes
    merged: int  # groups that are multiplied as one
    segment: int  # channels that share group and offset group
    vector: int  # elements of 16 bytes

    @classmethod
    def of(cls, n: Sizes, dtype: torch.dtype) -> Layout:
        per_group = max(n.channels, n.out_channels) // n.groups
        merged = max(
            m for m in range(1, n.groups + 1) if n.groups % m == 0 and (m == 1 or m * per_group <= _LEAST_CHANNELS)
        )
        segment = math.gcd(merged * n.channels // n.groups, n.channels // n.offset_groups)
        return cls(n, merged, segment, 16 // dtype.itemsize)

    @property
    def groups(self) -> int:
        return self.n.groups // self.merged

    @property
    def segments(self) -> int:
        return self.n.channels // self.segment

    @property
    def outputs(self) -> int:
        """Output channels of a merged group."""
        return self.n.out_channels // self.groups

    def padded(self, count: int) -> int:
        return -(-count // self.vector) * self.vector

    def shape(self, stride: Pair, padding: Pair, dilation: Pair) -> tuple[int, ...]:
        """DeformConv2dShape"""
        n = self.n
        plane = (n.batch, n.height, n.width, *n.out, *n.kernel, *stride, *padding, *dilation)
        channels = (self.groups, n.offset_groups, self.segments, self.padded(self.segment), self.padded(self.outputs))
        return plane + channels

    def pixels(self, input: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, H, W, segments, padded segment)"""
        return self._pad(input.permute(0, 2, 3, 1).unflatten(3, (self.segments, self.segment)))

    def empty_pixels(self, input: Tensor, dtype: torch.dtype) -> Tensor:
        """What `pixels` returns, not filled."""
        n = self.n
        size = (n.batch, n.height, n.width, self.segments, self.padded(self.segment))
        return input.new_empty(size, dtype=dtype)

    def from_pixels(self, pixels: Tensor) -> Tensor:
        """The inverse of `pixels`."""
        return pixels[..., : self.segment].flatten(3).permute(0, 3, 1, 2)

    def outputs_last(self, grad: Tensor) -> Tensor:
        """(B, Cout, outH, outW) -> (B, outH, outW, groups, padded outputs)"""
        return self._pad(grad.permute(0, 2, 3, 1).unflatten(3, (self.groups, self.outputs)))

    def weight(self, weight: Tensor) -> Tensor:
        """(Cout, Cin / groups, kH, kW) -> (segments, taps, padded segment, padded outputs)"""
        n = self.n
        part = weight.reshape(self.groups, self.merged, n.out_channels // n.groups, *weight.shape[1:2], n.taps)
        if self.merged > 1:
            part = self._spread(part)
        part = part.reshape(self.groups, self.outputs, self.segments // self.groups, self.segment, n.taps)
        part = part.permute(0, 2, 4, 3, 1).flatten(0, 1)
        return self._pad(part, self.padded(self.segment) - self.segment)

    def empty_weights(self, weight: Tensor, count: int) -> Tensor:
        """Several of what `weight` returns, as float32, not filled."""
        size = (self.segments, self.n.taps, self.padded(self.segment), self.padded(self.outputs))
        return weight.new_empty((count, *size), dtype=torch.float32)

    def from_weights(self, weights: Tensor) -> Tensor:
        """The inverse of `weight`."""
        n = self.n
        part = weights[:, :, : self.segment, : self.outputs].unflatten(0, (self.groups, self.segments // self.groups))
        part = part.permute(0, 4, 1, 3, 2)
        if self.merged > 1:
            blocks = (self.groups, self.merged, n.out_channels // n.groups, self.merged, n.channels // n.groups, n.taps)
            part = part.reshape(blocks).diagonal(dim1=1, dim2=3).permute(0, 4, 1, 2, 3)
        return part.reshape(n.out_channels, n.channels // n.groups, *n.kernel)

    def _spread(self, part: Tensor) -> Tensor:
        """(groups, merged, outputs, channels, taps) -> (groups, merged, outputs, merged, channels, taps), diagonal"""
        groups, merged, outputs, channels, taps = part.shape
        out = part.new_zeros(groups, merged, outputs, merged, channels, taps)
        out.diagonal(dim1=1, dim2=3).copy_(part.permute(0, 2, 3, 4, 1))
        return out

    def _pad(self, tensor: Tensor, more_rows: int = 0) -> Tensor:
        more_columns = self.padded(tensor.shape[-1]) - tensor.shape[-1]
        if more_columns or more_rows:  # else F.pad would make a copy
            tensor = F.pad(tensor, (0, more_columns, 0, more_rows))
        return tensor.contiguous()
