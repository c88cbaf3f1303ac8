"""Neighbourhood attention with relative position bias, and the block of TinyLIC and POLC that is made of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TILE = 8


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
        """(B, H, W, C) -> (B, H, W, C).

        Queries go in tiles, each against the keys that any of its windows has, the others masked: four times the
        products of the windows alone, but these are matrix products, and a key is copied three times instead of 49.
        """
        batch, height, width, channels = x.shape
        rows, columns = _Axis(height, self.kernel, x.device), _Axis(width, self.kernel, x.device)
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k, v = (
            self._tiles(q, rows.queries, columns.queries),
            *(self._tiles(t, rows.keys, columns.keys) for t in (k, v)),
        )
        y = F.scaled_dot_product_attention(q, k, v, self._bias(rows, columns).to(q.dtype))
        y = y.view(batch, rows.tiles, columns.tiles, self.heads, _TILE, _TILE, -1)
        y = y.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, rows.tiles * _TILE, columns.tiles * _TILE, channels)
        return self.proj(y[:, :height, :width])

    def _tiles(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """(B, H, W, C) and places (tiles, n) along each axis -> (B, tiles * heads, n * n, C / heads)."""
        x = x.index_select(1, rows.flatten()).index_select(2, columns.flatten())
        x = x.view(x.shape[0], *rows.shape, *columns.shape, self.heads, -1).permute(0, 1, 3, 5, 2, 4, 6)
        return x.reshape(x.shape[0], len(rows) * len(columns) * self.heads, -1, x.shape[-1])

    def _bias(self, rows: _Axis, columns: _Axis) -> Tensor:
        """(tiles * heads, queries, keys): the bias inside each query's window, -inf outside."""
        bias = self.bias[:, rows.offsets[:, None, :, None, :, None], columns.offsets[None, :, None, :, None, :]]
        outside = rows.outside[:, None, :, None, :, None] | columns.outside[None, :, None, :, None, :]
        bias = bias.masked_fill(outside, -torch.inf).permute(1, 2, 0, 3, 4, 5, 6)
        return bias.reshape(rows.tiles * columns.tiles * self.heads, _TILE * _TILE, -1)


class _Axis:
    """One axis in tiles: places of the queries (tiles, _TILE) and of the keys of each tile (tiles, n); for each query
    and key, the index of their offset in the bias, and whether the key is outside of the query's window."""

    def __init__(self, length: int, kernel: int, device: torch.device) -> None:
        self.tiles = -(-length // _TILE)
        places = torch.arange(self.tiles * _TILE, device=device).view(self.tiles, _TILE)
        self.queries = places.clamp_max(length - 1)  # what fills the last tile is computed and dropped
        window, span = min(kernel, length), min(_TILE + kernel - 1, length)
        firsts = (places[:, :1] - kernel // 2).clamp(0, length - span)
        self.keys = firsts + torch.arange(span, device=device)
        starts = (self.queries - kernel // 2).clamp(0, length - window)[:, :, None]
        keys = self.keys[:, None, :]
        self.outside = (keys < starts) | (keys >= starts + window)
        self.offsets = (keys - self.queries[:, :, None] + kernel - 1).clamp(0, 2 * kernel - 2)


class NeighbourhoodBlock(nn.Module):
    """NSAB: LayerNorm, neighbourhood attention, add; LayerNorm, MLP, add. (B, C, H, W) -> same.

    Zhang et al. 2025 (arXiv 2507.01608) scale both branches by a vector per quality, `gamma_1` and `gamma_2` of shape
    (levels, C), here interpolated linearly between qualities 1 to `levels`.
    """

    def __init__(self, channels: int, heads: int, *, levels: int = 8, kernel: int = 7, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(channels)
        self.attention = NeighbourhoodAttention(channels, heads, kernel=kernel)
        self.norm_2 = nn.LayerNorm(channels)
        hidden = mlp_ratio * channels
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))
        self.gamma_1 = nn.Parameter(torch.ones(levels, channels))
        self.gamma_2 = nn.Parameter(torch.ones(levels, channels))

    def forward(self, x: Tensor, quality: Tensor | None = None) -> Tensor:
        """quality: (B,), from 1 to `levels`; None (of a codec with a fixed rate) stands for 1."""
        if quality is None:
            quality = x.new_ones(x.shape[0], dtype=torch.float32)
        x = x.permute(0, 2, 3, 1)
        x = x + self._gamma(self.gamma_1, quality) * self.attention.attend(self.norm_1(x))
        x = x + self._gamma(self.gamma_2, quality) * self.mlp(self.norm_2(x))
        return x.permute(0, 3, 1, 2)

    @staticmethod
    def _gamma(gamma: Tensor, quality: Tensor) -> Tensor:
        place = (quality - 1).clamp(0, len(gamma) - 1)
        below = place.floor().long()
        above = (below + 1).clamp_max(len(gamma) - 1)
        return torch.lerp(gamma[below], gamma[above], (place - below)[:, None])[:, None, None, :]
