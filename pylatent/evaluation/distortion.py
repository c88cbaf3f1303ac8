"""PSNR and MS-SSIM of 8-bit pictures.

Both take pictures as (C, H, W) tensors: uint8, or floating point in [0, 1], which is rounded to 8 bits first, because a
decoded picture is shown and stored in 8 bits. Both compute in float64 on the CPU and return a Python float.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS = 64  # of a picture at a time: what is made of them stays in a cache
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

MS_SSIM_MIN_SIDE = (_WINDOW - 1) * 2 ** (len(_WEIGHTS) - 1) + 1
"""161: the shortest side on which the 11-tap window still fits after four halvings."""


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(255² / MSE), the MSE taken over all channels together.

    `inf` when the pictures are identical. Raises `TypeError` or `ValueError` for pictures that cannot be compared.
    """
    _check_pair(a, b)
    # In parts: a large picture in float64 is eight times its size. Sums of whole numbers are the same in any order.
    rows = zip(a.split(_ROWS, dim=1), b.split(_ROWS, dim=1), strict=True)
    mse = sum((_eight_bit(x) - _eight_bit(y)).square().sum().item() for x, y in rows) / a.numel()
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


def ms_ssim(a: Tensor, b: Tensor) -> float:
    """Multi-scale structural similarity (Wang, Simoncelli, Bovik 2003), 1 for identical pictures.

    Five scales with the weights of the paper, an 11×11 Gaussian window of σ = 1.5 without padding, 2×2 means between
    scales; computed for each channel and averaged over the channels, as usual for RGB in learned compression. A
    contrast-structure term below zero counts as zero. Where a side is odd, its last row or column is repeated before
    halving.

    Raises `ValueError` when a side is shorter than 161 pixels: fewer scales would give a number that looks the same
    and means something else.
    """
    _check_pair(a, b)
    x, y = _eight_bit(a), _eight_bit(b)
    height, width = x.shape[-2:]
    if min(height, width) < MS_SSIM_MIN_SIDE:
        raise ValueError(
            f"MS-SSIM with 5 scales needs sides of at least {MS_SSIM_MIN_SIDE} pixels, "
            f"got a picture of {width}x{height}; use PSNR"
        )
    # One channel at a time: the intermediate maps of a large picture are several times its size.
    values = [_ms_ssim_plane(p, q) for p, q in zip(x, y, strict=True)]
    return sum(values) / len(values)


def _ms_ssim_plane(x: Tensor, y: Tensor) -> float:
    x, y = x[None], y[None]
    value = 1.0
    for scale, weight in enumerate(_WEIGHTS):
        if scale:
            x, y = _halve(x), _halve(y)
        luminance, contrast_structure = _ssim_terms(x, y)
        term = contrast_structure if scale < len(_WEIGHTS) - 1 else luminance * contrast_structure
        value *= term.mean().clamp(min=0).item() ** weight
    return value


def _ssim_terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    mu_x, mu_y = _blur(x), _blur(y)
    var_x = _blur(x * x) - mu_x * mu_x
    var_y = _blur(y * y) - mu_y * mu_y
    cov = _blur(x * y) - mu_x * mu_y
    luminance = (2 * mu_x * mu_y + _C1) / (mu_x * mu_x + mu_y * mu_y + _C1)
    return luminance, (2 * cov + _C2) / (var_x + var_y + _C2)


def _blur(x: Tensor) -> Tensor:
    """Separable Gaussian window, without padding; sums of shifted views, 15 times as fast as a float64 `conv2d`."""
    weights = [math.exp(-((k - _WINDOW // 2) ** 2) / (2 * _SIGMA**2)) for k in range(_WINDOW)]
    total = math.fsum(weights)
    for dim in (-2, -1):
        length = x.shape[dim] - _WINDOW + 1
        blurred = x.narrow(dim, 0, length) * (weights[0] / total)
        for k in range(1, _WINDOW):
            blurred.add_(x.narrow(dim, k, length), alpha=weights[k] / total)
        x = blurred
    return x


def _halve(x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    return F.avg_pool2d(F.pad(x, (0, width % 2, 0, height % 2), mode="replicate"), 2)


def _check_pair(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(f"`a` and `b` must have the same shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    if a.ndim != 3 or a.numel() == 0:
        raise ValueError(f"pictures must have shape (C, H, W) with at least one pixel, got {tuple(a.shape)}")


def _eight_bit(x: Tensor) -> Tensor:
    if x.dtype == torch.uint8:
        return x.to("cpu", torch.float64)
    if x.is_floating_point():
        return x.detach().to("cpu", torch.float64).clamp(0, 1).mul(255).round()
    raise TypeError(f"pictures must be uint8 or floating point in [0, 1], got {x.dtype}")
