"""What CLM is compared with: the same network without references, and references without matching."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.layers.matching import LatentMatching


class SelfMatching(LatentMatching):
    """M = 0: the same network, to which y itself is the only reference."""

    def fused(self, y: Tensor, values: Tensor, keys: Tensor) -> Tensor:
        own, query = self.known(y)
        return super().fused(y, own[:, None], query[:, None])


class PlainMatching(nn.Module):
    """References are brought to y's size, their mean passes two convolutions and is added to y."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.narrow, self.widen = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)
        nn.init.zeros_(self.widen.weight)
        self.fuse = nn.Sequential(
            nn.Conv2d(2 * inner, inner, 3, padding=1), nn.GELU(), nn.Conv2d(inner, inner, 3, padding=1)
        )

    def known(self, references: Tensor) -> tuple[Tensor, Tensor]:
        """(n, channels, h, w) -> (n, inner, h, w), and the same where keys are expected."""
        values = self.narrow(references)
        return values, values

    def fused(self, y: Tensor, values: Tensor, keys: Tensor) -> Tensor:
        """(B, channels, H, W) and values (B, M, inner, h, w) -> (B, channels, H, W)."""
        resized = F.interpolate(values.mean(1), y.shape[-2:], mode="bilinear", align_corners=False)
        both = resized, self.narrow(y)
        return y + self.widen(resized + self.fuse(torch.cat(both, 1)))
