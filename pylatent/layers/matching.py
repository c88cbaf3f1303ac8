"""Conditional latent coding: the matching of references to a latent, and the synthesis of a conditioned one.

After "Conditional Latent Coding with Learnable Synthesized Reference for Deep Image Compression" (arXiv 2502.09971),
the equations of its authors' latest code. Deviations: phi has no batch normalisation, which would make a picture depend
on those beside it, and its result has unit length, so that the temperature means the same everywhere; nothing is
sampled; the blend starts near the latent itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.layers.deformable import DeformableAlignment
from pylatent.ops import match_latents

_START = 4.0  # logit of alpha: 0.98


class LatentMatching(nn.Module):
    """CLM: what references have where they are like the latent, aligned and fused.

    y (B, channels, H, W) and references (B, M, channels, h, w) -> (B, channels, H, W):

        S = softmax(phi(y)^T phi(y_r) / temperature),   y_m = S y_r             for each reference
        y_a = deformable alignment of y_m to y                                  at two scales
        softmax over the references of a score per pixel, sum, two convolutions

    width: channels of phi.
    """

    def __init__(self, channels: int, width: int = 256, temperature: float = 0.07) -> None:
        super().__init__()
        self.temperature = temperature
        self.phi = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.align = DeformableAlignment(channels)
        self.score = nn.Conv2d(2 * channels, 1, 3, padding=1)
        self.fuse = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.GELU(), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, y: Tensor, references: Tensor) -> Tensor:
        count, flat = references.shape[1], references.flatten(0, 1)
        query, key = (F.normalize(self.phi(each).to(flat.dtype)) for each in (y, flat))
        matched = match_latents(query.repeat_interleave(count, 0), key, flat, self.temperature)
        repeated = y.repeat_interleave(count, 0)
        aligned = self.align(repeated, matched)
        scores = self.score(torch.cat([repeated, aligned], 1)).unflatten(0, (-1, count))
        fused = (scores.softmax(1) * aligned.unflatten(0, (-1, count))).sum(1)
        return fused + self.fuse(fused)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"


class LatentBlend(nn.Module):
    """CLS: alpha y + (1 - alpha) y_a with alpha = sigmoid(F_w[y, y_a]); (B, channels, H, W) each -> same."""

    def __init__(self, channels: int, hidden: int = 128) -> None:
        super().__init__()
        last = nn.Conv2d(hidden, channels, 1)
        self.weights = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.GELU(),
            last,
        )
        with torch.no_grad():
            last.weight.mul_(0.1)
            assert last.bias is not None
            last.bias.fill_(_START)

    def forward(self, y: Tensor, aligned: Tensor) -> Tensor:
        alpha = torch.sigmoid(self.weights(torch.cat([y, aligned], 1)))
        return torch.lerp(aligned.to(y.dtype), y, alpha.to(y.dtype))
