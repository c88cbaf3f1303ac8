"""How the CUDA kernels of the deformable convolution see its tensors (csrc/deform_conv2d/deform_conv2d_cuda.h)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent.ops.deform_conv2d.sizes import Pair, Sizes

# Groups are multiplied together, as one with a sparse weight, up to this many channels: fewer would leave most of a
# library product's tile empty.
_LEAST_CHANNELS = 64


@dataclass(frozen=True)
class Layout:
    """Groups merged, channels in segments that are padded to 16 bytes."""

    n: Sizes
    merged: int  # groups that are multiplied as one
    segment: int  # channels that share group and offset group
    vector: int  # elements of 16 bytes

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, n: Sizes, dtype: torch.dtype) -> Layout:
        per_group = max(n.channels, n.out_channels) // n.groups
        merged = max(
            m for m in range(1, n.groups + 1) if n.groups % m == 0 and (m == 1 or m * per_group <= _LEAST_CHANNELS)
        )
        segment = math.gcd(merged * n.channels // n.groups, n.channels // n.offset_groups)
        return cls(n, merged, segment, 16 // dtype.itemsize)

    @cached_property
    def groups(self) -> int:
        return self.n.groups // self.merged

    @cached_property
    def segments(self) -> int:
        return self.n.channels // self.segment

    @cached_property
    def outputs(self) -> int:
        """Output channels of a merged group."""
        return self.n.out_channels // self.groups

    @cached_property
    def padded(self) -> int:
        """Channels of a segment with the zeros behind them."""
        return -(-self.segment // self.vector) * self.vector

    @cached_property
    def depth(self) -> int:
        """Columns of a merged group for one pixel: taps times segments times padded channels."""
        return self.n.taps * (self.segments // self.groups) * self.padded

    def shape(self, stride: Pair, padding: Pair, dilation: Pair) -> tuple[int, ...]:
        """DeformConv2dShape"""
        n = self.n
        plane = (n.batch, n.height, n.width, *n.out, *n.kernel, *stride, *padding, *dilation)
        return (*plane, self.groups, n.offset_groups, self.segments, self.padded)

    def pixels(self, input: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, H, W, segments, padded channels), aligned to 16 bytes"""
        pixels = self._pad(input.permute(0, 2, 3, 1).unflatten(3, (self.segments, self.segment)))
        return pixels if pixels.data_ptr() % 16 == 0 else pixels.clone()

    def empty_pixels(self, input: Tensor, dtype: torch.dtype) -> Tensor:
        """What `pixels` returns, not filled."""
        n = self.n
        return input.new_empty((n.batch, n.height, n.width, self.segments, self.padded), dtype=dtype)

    def from_pixels(self, pixels: Tensor) -> Tensor:
        """The inverse of `pixels`."""
        return pixels[..., : self.segment].flatten(3).permute(0, 3, 1, 2)

    def rows(self, output: Tensor) -> Tensor:
        """(B, Cout, outH, outW) -> (merged groups, pixels, outputs): a view where one picture or channels-last makes
        it one."""
        rows = output.flatten(2).transpose(1, 2)
        return rows.reshape(-1, self.groups, self.outputs).transpose(0, 1)

    def weight(self, weight: Tensor) -> Tensor:
        """(Cout, Cin / groups, kH, kW) -> (merged groups, outputs, depth)"""
        n = self.n
        part = weight.reshape(self.groups, self.merged, n.out_channels // n.groups, weight.shape[1], n.taps)
        if self.merged > 1:
            part = self._spread(part)
        part = part.reshape(self.groups, self.outputs, self.segments // self.groups, self.segment, n.taps)
        return self._pad(part.permute(0, 1, 4, 2, 3)).flatten(2)

    def from_weight(self, weight: Tensor) -> Tensor:
        """The inverse of `weight`."""
        n = self.n
        part = weight.unflatten(2, (n.taps, self.segments // self.groups, self.padded))[..., : self.segment]
        part = part.permute(0, 1, 3, 4, 2)
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

    def _pad(self, tensor: Tensor) -> Tensor:
        if more := self.padded - self.segment:
            tensor = F.pad(tensor, (0, more))  # which may keep the strides' order
        return tensor.contiguous()
