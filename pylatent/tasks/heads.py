"""Classifiers of what `decode` returns: quantised latents and their scales; pixels are never computed.

    codec.decode(streams) ─► Latents ─► head ─► logits (B, classes)

The heads of "An Empirical Analysis of Hyperprior Side-Information in Direct Latent-Space Image Classification"
(OpenReview VPfzijDmiV), which gives no widths; these are ours. Each takes the shallowest level y_hat (B, C, h, w) of
any codec, as stored (after any gain), and those that use scales its scales. `LatentMLP` apart, any h and w will do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from pylatent.codecs.latents import Latents
from pylatent.layers.gated_fusion import GatedFusion, log_scales


def y_of(latents: Latents, channels: int) -> Tensor:
    """The shallowest level, which must have `channels` channels; ValueError."""
    y = latents.y
    if y.ndim != 4 or y.shape[1] != channels:
        raise ValueError(f"this head takes latents of shape (B, {channels}, h, w), got {tuple(y.shape)}")
    return y


def scales_of(latents: Latents) -> Tensor:
    """Scales of the shallowest level, of its shape. ValueError where there are none or they have another shape."""
    scales = None if latents.scales is None else latents.scales[0]
    if scales is None:
        raise ValueError("this head needs the latents' scales: pass what `decode` or `as_coded` returns")
    if scales.shape != latents.y.shape:
        raise ValueError(f"the scales must have the latents' shape {tuple(latents.y.shape)}, got {scales.shape}")
    return scales


class LatentHead(nn.Module, ABC):
    """Latents of `channels` channels -> logits (B, classes)."""

    grid: tuple[int, int] | None = None  # the h and w that a head is bound to

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        if min(channels, classes) < 1:
            raise ValueError(f"`channels` and `classes` must be positive, got {channels} and {classes}")
        self.channels, self.classes = channels, classes

    @abstractmethod
    def forward(self, latents: Latents) -> Tensor: ...

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that make this head, for its file."""
        return {"channels": self.channels, "classes": self.classes}


class LatentMLP(LatentHead):
    """y_hat, flattened -> 512 -> classes. Bound to latents of h x w: 14 x 14 for pictures of 224 x 224."""

    def __init__(self, channels: int, classes: int, *, height: int = 14, width: int = 14, hidden: int = 512) -> None:
        super().__init__(channels, classes)
        self.grid, self.hidden = (height, width), hidden
        inputs = channels * height * width
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))

    def forward(self, latents: Latents) -> Tensor:
        y = y_of(latents, self.channels)
        if y.shape[2:] != self.grid:
            raise ValueError(f"this head takes latents of {self.grid}, got {tuple(y.shape[2:])}: one size of pictures")
        return self.layers(y)

    @property
    def config(self) -> dict[str, Any]:
        assert self.grid is not None
        return {**super().config, "height": self.grid[0], "width": self.grid[1], "hidden": self.hidden}


class LatentResNet(LatentHead):
    """y_hat -> 3x3 convolution, three residual blocks, global mean, linear; halved twice on the way."""

    def __init__(self, channels: int, classes: int, *, width: int = 128) -> None:
        super().__init__(channels, classes)
        self.width = width
        self.trunk = _trunk(self._inputs(channels), classes, width)

    @staticmethod
    def _inputs(channels: int) -> int:
        return channels

    def forward(self, latents: Latents) -> Tensor:
        return self.trunk(y_of(latents, self.channels))

    @property
    def config(self) -> dict[str, Any]:
        return {**super().config, "width": self.width}


class FusionGated(LatentResNet):
    """sigmoid(W_s * log scales) ⊙ (W_y * y_hat), the paper's Equation 1, then the trunk of `LatentResNet`."""

    def __init__(self, channels: int, classes: int, *, width: int = 128) -> None:
        super().__init__(channels, classes, width=width)
        self.fusion = GatedFusion(channels, channels, channels, log_scales=True)

    def forward(self, latents: Latents) -> Tensor:
        return self.trunk(self.fusion(y_of(latents, self.channels), scales_of(latents)))


class SelfGated(LatentResNet):
    """Control: `FusionGated` with y_hat as its own gate. The same parameters and arithmetic, no scales."""

    def __init__(self, channels: int, classes: int, *, width: int = 128) -> None:
        super().__init__(channels, classes, width=width)
        self.fusion = GatedFusion(channels, channels, channels)

    def forward(self, latents: Latents) -> Tensor:
        y = y_of(latents, self.channels)
        return self.trunk(self.fusion(y, y))


class ScalesResNet(LatentResNet):
    """Control: `LatentResNet` on the log scales alone."""

    def forward(self, latents: Latents) -> Tensor:
        y_of(latents, self.channels)
        return self.trunk(log_scales(scales_of(latents)))


class ConcatResNet(LatentResNet):
    """Control: `LatentResNet` on y_hat and the log scales, concatenated."""

    @staticmethod
    def _inputs(channels: int) -> int:
        return 2 * channels

    def forward(self, latents: Latents) -> Tensor:
        return self.trunk(torch.cat([y_of(latents, self.channels), log_scales(scales_of(latents))], 1))


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm; the skip is a 1x1 convolution where the shape changes (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


def _trunk(inputs: int, classes: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        _ResidualBlock(width, width, 1),
        _ResidualBlock(width, width, 2),
        _ResidualBlock(width, 2 * width, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, classes),
    )
