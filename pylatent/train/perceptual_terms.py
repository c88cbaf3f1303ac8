"""What the loss of perceptual training is made of: the codec's pass over a batch, and LPIPS of shifted pictures;
and what is told of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.codecs import Codec
from pylatent.codecs.latents import Latents
from pylatent.codecs.rounding import Rounding, mixed, nearest
from pylatent.evaluation.lpips import LPIPS

_SHIFT = 15  # pixels at most that are added or cut at each side


@dataclass(frozen=True)
class Progress:
    """What the caller's progress bar is told of a step in which the codec learned; reading a tensor waits.

    means: bits per pixel, MSE of pixels in [0, 1], LPIPS (0 if not computed). accuracy: of the discriminators, each a
    running mean.
    """

    step: int
    fraction: float
    means: Tensor
    accuracy: Tensor


class CodecPass(nn.Module):
    """The codec as Fabric's wrappers need it: plain tensors out."""

    def __init__(self, codec: Codec, receiver_only: bool) -> None:
        super().__init__()
        self.codec, self.receiver_only = codec, receiver_only

    def forward(self, x: Tensor, quality: float) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels -> decoded pixels, not clamped, (B, 3, H, W); y_hat; bits per pixel, (B,)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.receiver_only):
            levels, bpp = code(self.codec, x, quality, nearest if self.receiver_only else mixed)
        x_hat = self.codec.synthesis(levels, torch.full((len(x),), quality, device=x.device))
        return x_hat.float(), levels[0], bpp


def code(codec: Codec, x: Tensor, quality: float, rounding: Rounding) -> tuple[tuple[Tensor, ...], Tensor]:
    """Aligned pixels (B, 3, H, W) -> quantised levels and bits per pixel (B,), by the float networks."""
    size = (int(x.shape[2]), int(x.shape[3]))
    levels = codec.analysis(x, torch.full((len(x),), quality, device=x.device))
    rated = codec.quantize(Latents(tuple(each.float() for each in levels), size, (quality,) * len(x)), rounding)
    bits = torch.stack([level.float() for level in rated.bits]).sum(0)
    return rated.latents.levels, bits / (size[0] * size[1])


def perceived(metric: LPIPS, x: Tensor, x_hat: Tensor) -> Tensor:
    """Mean LPIPS of decoded pixels after a random shift and resampling of both pictures, so that the codec cannot learn
    the grid of the features. A scalar, differentiable in x_hat."""
    sides = [int(each) for each in torch.randint(-_SHIFT, _SHIFT + 1, (4,))]
    x, x_hat = (_shifted(each, sides) for each in (x, x_hat))
    with torch.no_grad():
        original = metric.describe(x)
    return metric.distance(original, metric.describe(x_hat)).mean()


def _shifted(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Rows and columns added (reflected) or cut at the left, right, top and bottom, then resampled to the old size."""
    height, width = x.shape[2:]
    left, right, top, bottom = (max(0, -side) for side in sides)
    cut = F.pad(x, [max(0, side) for side in sides], mode="reflect")
    cut = cut[..., top : cut.shape[2] - bottom, left : cut.shape[3] - right]
    return F.interpolate(cut, size=(height, width), mode="bicubic", align_corners=False)
