"""The loss of refinement: bits per pixel + lambda 255² MSE, relaxed while optimising, true when coded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pylatent.codecs.latents import Latents
from pylatent.codecs.rounding import Rounding, nearest

if TYPE_CHECKING:
    from pylatent.codecs.base import Codec


@dataclass(frozen=True)
class TrueLoss:
    """Of each picture (B,), as coded: `loss` = `bpp` + lambda 255² `mse`; the MSE of clamped pixels in [0, 1]."""

    loss: Tensor
    bpp: Tensor
    mse: Tensor

    @property
    def psnr(self) -> Tensor:
        """(B,) in dB, before rounding to 8 bits."""
        return -10 * torch.log10(self.mse)


@torch.no_grad()
def true_loss(codec: Codec, latents: Latents, x: Tensor, lam: float) -> TrueLoss:
    """What coding `latents` costs: rounded as `encode` rounds them, with the exact parameter networks.

    Bits are those of the model's densities; a file is longer by its header and the coder's inefficiency (below 0.5 %).
    """
    rated = codec.quantize(latents, nearest, exact=True)
    bpp = torch.stack(rated.bits).sum(0) / (x.shape[-2] * x.shape[-1])
    mse = (codec.synthesize(rated.latents).float() - x).square().mean((1, 2, 3))
    return TrueLoss(bpp + lam * 255**2 * mse, bpp, mse)


def relaxed_loss(codec: Codec, latents: Latents, x: Tensor, lam: float, rounding: Rounding) -> Tensor:
    """The same loss (B,) of the relaxed sample, differentiable in `latents.levels`."""
    rated = codec.quantize(latents, rounding)
    quality = None if latents.quality is None else torch.tensor(latents.quality, device=x.device)
    height, width = latents.size
    x_hat = codec.synthesis(rated.latents.levels, quality)[..., :height, :width]
    mse = (x_hat.float() - x).square().mean((1, 2, 3))
    bits = torch.stack([bits.float() for bits in rated.bits]).sum(0)
    return bits / (height * width) + lam * 255**2 * mse
