"""Memory layouts of the gated fusion, contiguous NCHW or channels-last, and matrix products in them."""

from __future__ import annotations

import torch
from torch import Tensor

from pylatent._products import is_on_cpu, product

HALF_DTYPES = (torch.float16, torch.bfloat16)


def is_channels_last(x: Tensor) -> bool:
    """Whether the operator works channels-last on `x`: it is stored so, or has one pixel a picture and is stored both
    ways."""
    if not x.is_contiguous(memory_format=torch.channels_last):
        return False
    return not x.is_contiguous() or x.shape[2] * x.shape[3] == 1


def in_layout(x: Tensor, channels_last: bool) -> Tensor:
    """`x` itself if it is stored so, else a copy that is."""
    return x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def empty_output(like: Tensor, channels: int, dtype: torch.dtype, channels_last: bool) -> Tensor:
    """An uninitialised (B, channels, H, W) on the device of `like` (B, ·, H, W)."""
    batch, _, height, width = like.shape
    if not channels_last:
        return like.new_empty((batch, channels, height, width), dtype=dtype)
    strides = (height * width * channels, 1, width * channels, channels)
    return like.new_empty_strided((batch, channels, height, width), strides, dtype=dtype)


def pixel_rows(x: Tensor) -> Tensor:
    """Channels-last (B, C, H, W) as a (B H W, C) view."""
    batch, channels, height, width = x.shape
    return x.as_strided((batch * height * width, channels), (channels, 1))


def convolve(x: Tensor, weight: Tensor, channels_last: bool) -> Tensor:
    """The 1x1 convolution of `x` (B, K, H, W), stored so, with `weight` (C, K): (B, C, H, W), stored so."""
    batch, _, height, width = x.shape
    if channels_last:
        out = product(pixel_rows(x), weight)
        return out.view(batch, height, width, weight.shape[0]).permute(0, 3, 1, 2)
    if batch == 1:
        out = product(weight, x[0].flatten(1).t())
    else:
        out = torch.bmm(weight.expand(batch, *weight.shape), x.flatten(2))
    return out.view(batch, weight.shape[0], height, width)


def weight_gradient(grad: Tensor, x: Tensor, channels_last: bool) -> Tensor:
    """Of `convolve`: the sum over pictures and pixels of grad (B, C, H, W) times x (B, K, H, W), both stored so."""
    if channels_last:
        return product(pixel_rows(grad).t(), pixel_rows(x).t())
    if grad.shape[0] == 1:
        pixels = x.shape[2] * x.shape[3]
        return product(grad.view(grad.shape[1], pixels), x.view(x.shape[1], pixels))
    if is_on_cpu(grad) and grad.dtype in HALF_DTYPES:  # one sum, rounded once, and not one a picture
        return product(grad.transpose(0, 1).flatten(1), x.transpose(0, 1).flatten(1))
    return torch.bmm(grad.flatten(2), x.flatten(2).mT).sum(0)


def empty_sums(out: Tensor, channels_last: bool) -> Tensor:
    """(2, n, C), whose sum over n gives the gradients of the two biases.

    n is the number of pictures or, channels-last, of blocks of at most 128 pixels.
    """
    batch, channels, height, width = out.shape
    rows = (batch * height * width + 127) // 128 if channels_last else batch
    empty = torch.empty if out.numel() else torch.zeros  # no kernel runs where there is nothing to add up
    return empty((2, rows, channels), dtype=sum_dtype(out.dtype), device=out.device)


def added(sums: Tensor) -> Tensor:
    """(2, C): what `empty_sums` made, filled, summed over n."""
    return sums.squeeze(1) if sums.shape[1] == 1 else sums.sum(1)


def sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """What gradients of biases are added up in."""
    return torch.float64 if dtype == torch.float64 else torch.float32
