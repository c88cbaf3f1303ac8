"""Residual blocks that keep, halve or double the sides, with the names of CompressAI's state dicts.

Those of Cheng et al. 2020 (arXiv 2001.01568); LeakyReLU of slope 0.01.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.layers.gdn import GDN


class ResidualBlock(nn.Module):
    """x + two 3x3 convolutions, each with its LeakyReLU: (B, channels, H, W) -> same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(x))))


class DownBlock(nn.Module):
    """Two convolutions and GDN beside a 1x1 convolution: (B, inputs, H, W) -> (B, outputs, H / 2, W / 2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 2, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.gdn = GDN(outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.gdn(self.conv2(F.leaky_relu(self.conv1(x)))) + self.skip(x)


class UpBlock(nn.Module):
    """Its mirror: (B, inputs, H, W) -> (B, outputs, 2 H, 2 W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.subpel_conv = shuffled_conv(inputs, outputs)
        self.conv = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.igdn = GDN(outputs, inverse=True)
        self.upsample = shuffled_conv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.igdn(self.conv(F.leaky_relu(self.subpel_conv(x)))) + self.upsample(x)


def shuffled_conv(inputs: int, outputs: int) -> nn.Sequential:
    """A 3x3 convolution, then a pixel shuffle: (B, inputs, H, W) -> (B, outputs, 2 H, 2 W)."""
    return nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 3, padding=1), nn.PixelShuffle(2))
