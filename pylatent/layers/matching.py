"""Conditional latent coding: the matching of references to a latent, and the synthesis of a conditioned one.

After "Conditional Latent Coding with Learnable Synthesized Reference for Deep Image Compression" (arXiv 2502.09971),
the equations of its authors' latest code. Deviations: phi has no batch normalisation, which would make a picture depend
on those beside it; instead a convolution goes past it, its result has mean 0 over the positions, so that these differ
from the start, and unit length, so that the temperature means the same everywhere; nothing is sampled; the blend starts
near the latent itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.layers.deformable import DeformableAlignment
from pylatent.ops import match_latents

NEAR_Y = 4.0  # logit of alpha: 0.98, for where y_a starts as anything

_LEAST, _MOST = 1e-3, 4.0  # a deviation, and how far its logarithm is moved


class LatentMatching(nn.Module):
    """CLM: what references have where they are like the latent, aligned and fused.

    y (B, channels, H, W) and references (B, M, channels, h, w) -> (B, channels, H, W):

        S = softmax(phi(y)^T phi(y_r) / temperature),   y_m = S y_r             for each reference
        y_a = deformable alignment of y_m to y                                  at two scales
        softmax over the references of a score per pixel, sum, two convolutions

    width: channels of phi. inner: of what is matched, aligned and fused; `channels`, the default, is as published. With
    fewer, a 1x1 convolution makes them of y and of the references, and another, which starts at zero, makes what is
    then *added* to y, from y_a + y_m - y: so few channels do not hold y itself. The alignment takes most of the time,
    which falls with the square of `inner`.
    """

    def __init__(self, channels: int, width: int = 256, *, inner: int | None = None, temperature: float = 0.07) -> None:
        super().__init__()
        inner = channels if inner is None else inner
        self.temperature = temperature
        self.narrow = self.widen = None
        if inner != channels:
            self.narrow, self.widen = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)
            for parameter in self.widen.parameters():
                nn.init.zeros_(parameter)
        self.phi = nn.Sequential(
            nn.Conv2d(inner, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.project = nn.Conv2d(inner, width, 3, padding=1)
        self.align = DeformableAlignment(inner)
        self.score = nn.Conv2d(2 * inner, 1, 3, padding=1)
        self.fuse = nn.Sequential(
            nn.Conv2d(inner, inner, 3, padding=1), nn.GELU(), nn.Conv2d(inner, inner, 3, padding=1)
        )

    def forward(self, y: Tensor, references: Tensor) -> Tensor:
        count, flat = references.shape[1], references.flatten(0, 1)
        return self.fused(y, *(each.unflatten(0, (-1, count)) for each in self.known(flat)))

    def known(self, references: Tensor) -> tuple[Tensor, Tensor]:
        """What of references (n, channels, h, w) does not depend on y: (n, inner, h, w) and phi (n, width, h, w)."""
        values = references if self.narrow is None else self.narrow(references).to(references.dtype)
        features = self.project(values).to(references.dtype) + self.phi(values).to(references.dtype)
        return values, F.normalize(features - features.mean((2, 3), keepdim=True))

    def fused(self, y: Tensor, values: Tensor, keys: Tensor) -> Tensor:
        """The result for references of which `known` is known, (B, M, inner, h, w) and (B, M, width, h, w)."""
        count = values.shape[1]
        own, query = self.known(y)
        matched = match_latents(
            query.repeat_interleave(count, 0), keys.flatten(0, 1), values.flatten(0, 1), self.temperature
        )
        repeated = own.repeat_interleave(count, 0)
        aligned = self.align(repeated, matched)
        if self.widen is not None:  # what is added to y starts from what the reference has and y has not
            aligned = aligned + (matched - repeated)
        scores = self.score(torch.cat([repeated, aligned], 1)).unflatten(0, (-1, count))
        fused = (scores.softmax(1) * aligned.unflatten(0, (-1, count))).sum(1)
        fused = fused + self.fuse(fused)
        return fused if self.widen is None else y + self.widen(fused)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"


class LatentBlend(nn.Module):
    """CLS: alpha y + (1 - alpha) y_a with alpha = sigmoid(F_w[y, y_a]); (B, channels, H, W) each -> same.

    start: what alpha's logit starts near; by default the result starts near y.
    """

    def __init__(self, channels: int, hidden: int = 128, *, start: float = NEAR_Y) -> None:
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
            last.bias.fill_(start)

    def forward(self, y: Tensor, aligned: Tensor) -> Tensor:
        alpha = torch.sigmoid(self.weights(torch.cat([y, aligned], 1)))
        return torch.lerp(aligned.to(y.dtype), y, alpha.to(y.dtype))


class ParameterConditioning(nn.Module):
    """What the matching's y_a tells of the mean and the standard deviation of y, (B, channels, H, W) each.

    mean + a, deviation exp(b), with a and b of three convolutions of [mean, log deviation, y_a], 0 at the start.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        last = nn.Conv2d(hidden, 2 * channels, 1)
        self.changes = nn.Sequential(
            nn.Conv2d(3 * channels, hidden, 1), nn.GELU(), nn.Conv2d(hidden, hidden, 3, padding=1), nn.GELU(), last
        )
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, mean: Tensor, deviation: Tensor, aligned: Tensor) -> tuple[Tensor, Tensor]:
        logs = deviation.clamp_min(_LEAST).log()
        change, factor = self.changes(torch.cat([mean, logs, aligned], 1)).chunk(2, 1)
        return mean + change, (logs + factor.clamp(-_MOST, _MOST)).exp()
