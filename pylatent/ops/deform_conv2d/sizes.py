"""Sizes and results of a deformable convolution, from its arguments."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

Pair = tuple[int, int]


class Sizes(NamedTuple):
    """Input (batch, channels, height, width), weight (out_channels, channels // groups, *kernel), output (batch,
    out_channels, *out), offset (batch, 2 * offset_groups * taps, *out), mask (batch, offset_groups * taps, *out)."""

    batch: int
    channels: int
    height: int
    width: int
    out_channels: int
    kernel: Pair
    out: Pair
    groups: int
    offset_groups: int

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]


def sizes(input: Tensor, offset: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> Sizes:
    """The sizes that the shapes imply; what they imply may still contradict the shapes."""
    batch, channels, height, width = input.shape
    out_channels, per_group, *kernel = weight.shape
    out = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip((height, width), kernel, stride, padding, dilation, strict=True)
    ]
    return Sizes(
        batch=batch,
        channels=channels,
        height=height,
        width=width,
        out_channels=out_channels,
        kernel=(kernel[0], kernel[1]),
        out=(out[0], out[1]),
        groups=channels // per_group if channels else 1,
        offset_groups=offset.shape[1] // (2 * kernel[0] * kernel[1]),
    )


def empty_output(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Channels-last if `like` is channels-last and not also contiguous, else contiguous."""
    last = not like.is_contiguous() and like.is_contiguous(memory_format=torch.channels_last)
    memory_format = torch.channels_last if last else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=memory_format)


def coordinate_dtype(dtype: torch.dtype) -> torch.dtype:
    """What offsets and masks are computed in: half dtypes would move samples by tenths of a pixel."""
    return torch.float64 if dtype == torch.float64 else torch.float32
