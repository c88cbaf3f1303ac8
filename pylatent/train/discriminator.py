"""The discriminator of perceptual training: is this picture the original or a decoding, given its latents?

As in Zhang et al. 2025 (arXiv 2507.01608) and Mentzer et al. 2020 (arXiv 2006.09965): a convolution brings the latents
to 12 channels, repeated to the picture's size; with the pixels they go through four convolutions of stride 2 under
spectral normalisation. Every position of the last map judges its own part of the picture.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

_CONDITION = 12
_WIDTHS = (64, 128, 256, 512)


class Discriminator(nn.Module):
    """channels: of the latents. widths: of the convolutions of stride 2."""

    def __init__(self, channels: int, widths: tuple[int, ...] = _WIDTHS) -> None:
        super().__init__()
        self.condition = spectral_norm(nn.Conv2d(channels, _CONDITION, 3, padding=1))
        layers: list[nn.Module] = []
        for inputs, outputs in zip((_CONDITION + 3, *widths), widths, strict=False):
            convolution = nn.Conv2d(inputs, outputs, 4, 2, padding=1, padding_mode="reflect")
            layers += [spectral_norm(convolution), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 1))

    def forward(self, y_hat: Tensor, x: Tensor) -> Tensor:
        """Latents (B, C, h, w), to which no gradient goes, and pixels (B, 3, H, W) in [0, 1] -> logits, (B, 1, H / 16,
        W / 16); above 0 for an original."""
        condition = F.leaky_relu(self.condition(y_hat.detach()), 0.2)
        condition = F.interpolate(condition, size=x.shape[2:], mode="nearest")
        return self.layers(torch.cat([condition.to(x.dtype), 2 * x - 1], 1))


def judged(logits: Tensor, original: bool) -> Tensor:
    """Binary cross-entropy of logits for pictures that are all originals, or all decodings: a scalar."""
    logits = logits.float()
    return F.softplus(-logits if original else logits).mean()


def share_right(of_originals: Tensor, of_decodings: Tensor) -> Tensor:
    """The part of the logits that are right: 0.5 when it cannot tell, 1 when it always can. A scalar."""
    return ((of_originals > 0).float().mean() + (of_decodings <= 0).float().mean()) / 2
