"""Neighbourhood attention with relative position bias, and the block of TinyLIC and POLC that is made of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pylatent.ops import neighborhood_attention
from pylatent.ops.neighborhood_attention import KERNELS
from pylatent.ops.neighborhood_attention.tiles import attend_in_tiles


class NeighbourhoodAttention(nn.Module):
    """Every position attends to the `kernel`² nearest (Hassani et al. 2023, arXiv 2204.07143): (B, C, H, W) -> same.

    At the borders the window is shifted inwards, as NATTEN does, so that all positions have equally many keys; on a map
    smaller than the kernel the window is the map. The bias depends on the offset from query to key.
    """

    def __init__(self, channels: int, heads: int, *, kernel: int = 7) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"`channels` must be a multiple of heads = {heads}, got {channels}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"`kernel` must be odd, got {kernel}")
        self.heads, self.kernel = heads, kernel
        self.qkv = nn.Linear(channels, 3 * channels)
        self.bias = nn.Parameter(torch.empty(heads, 2 * kernel - 1, 2 * kernel - 1))
        self.proj = nn.Linear(channels, channels)
        nn.init.trunc_normal_(self.bias, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def attend(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        q, k, v = (t.unflatten(-1, (self.heads, -1)) for t in self.qkv(x).chunk(3, -1))
        if min(x.shape[1:3]) < self.kernel or self.kernel not in KERNELS:
            y = attend_in_tiles(q, k, v, self.bias, self.kernel, q.shape[-1] ** -0.5)
        else:
            y = neighborhood_attention(q, k, v, self.bias, kernel=self.kernel)
        return self.proj(y.flatten(3))


class NeighbourhoodBlock(nn.Module):
    """NSAB: LayerNorm, neighbourhood attention, add; LayerNorm, MLP, add. (B, C, H, W) -> same.

    Zhang et al. 2025 (arXiv 2507.01608) scale both branches by a vector per quality, `gamma_1` and `gamma_2` of shape
    (levels, C); with levels=None, there are none.
    """

    def __init__(
        self, channels: int, heads: int, *, levels: int | None = 8, kernel: int = 7, mlp_ratio: int = 4
    ) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(channels)
        self.attention = NeighbourhoodAttention(channels, heads, kernel=kernel)
        self.norm_2 = nn.LayerNorm(channels)
        hidden = mlp_ratio * channels
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))
        self.gamma_1 = None if levels is None else nn.Parameter(torch.ones(levels, channels))
        self.gamma_2 = None if levels is None else nn.Parameter(torch.ones(levels, channels))

    def forward(self, x: Tensor, quality: Tensor | None = None) -> Tensor:
        """quality: (B,), from 1 to `levels`; None (of a codec with a fixed rate) stands for 1."""
        x = x.permute(0, 2, 3, 1)
        x = x + self._scaled(self.attention.attend(self.norm_1(x)), self.gamma_1, quality)
        x = x + self._scaled(self.mlp(self.norm_2(x)), self.gamma_2, quality)
        return x.permute(0, 3, 1, 2)

    @staticmethod
    def _scaled(branch: Tensor, gamma: Tensor | None, quality: Tensor | None) -> Tensor:
        if gamma is None:
            return branch
        if quality is None:
            quality = torch.ones(len(branch), device=branch.device)
        return branch * of_quality(gamma, quality)[:, None, None, :]


def of_quality(factors: Tensor, quality: Tensor) -> Tensor:
    """Magnitudes of factors (levels, C), interpolated geometrically at qualities (B,) from 1 to levels -> (B, C)."""
    magnitudes = factors.abs().clamp_min(1e-9)
    place = (quality - 1).clamp(0, len(factors) - 1)
    below = place.floor().long()
    above = (below + 1).clamp_max(len(factors) - 1)
    share = (place - below).to(factors.dtype)[:, None]
    return magnitudes[below] ** (1 - share) * magnitudes[above] ** share
