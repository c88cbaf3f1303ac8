"""Residual blocks whose result is bounded."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ClippedResidualBlock(nn.Module):
    """clip(x + conv(LeakyReLU(conv(x)))) to ±limit, 3x3, slope 0.01; (B, channels, H, W) -> the same.

    The clip keeps a chain of blocks from growing without bound on inputs unlike those of the training, and fixes the
    range that an integer form needs. limit: None leaves it out. Starts near the identity.
    """

    def __init__(self, channels: int, limit: float | None) -> None:
        super().__init__()
        if limit is not None and not limit > 0:
            raise ValueError(f"`limit` must be above 0, got {limit}")
        self.limit = limit
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)
            assert self.conv2.bias is not None
            self.conv2.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        summed = x + self.conv2(F.leaky_relu(self.conv1(x), 0.01))
        return summed if self.limit is None else torch.clamp(summed, -self.limit, self.limit)

    def extra_repr(self) -> str:
        return f"limit={self.limit}"
