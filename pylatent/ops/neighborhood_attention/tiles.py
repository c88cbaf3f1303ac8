"""Neighbourhood attention in plain torch: queries in tiles, each against the keys that any of its windows has, the
others masked. Four times the products of the windows alone, but these are matrix products, and a key is copied three
times instead of kernel² times.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent.ops._autocast import without_autocast

_TILE = 8


def attend_in_tiles(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, kernel: int, scale: float) -> Tensor:
    """q, k, v: (B, H, W, heads, D); bias: (heads, 2 kernel - 1, 2 kernel - 1). On an axis shorter than the kernel, the
    window is the axis."""
    batch, height, width, heads, dim = q.shape
    if q.numel() == 0:
        return q * 0 + k * 0 + v * 0
    rows, columns = _Axis(height, kernel, q.device), _Axis(width, kernel, q.device)
    queries = _tiles(q, rows.queries, columns.queries)
    keys, values = (_tiles(t, rows.keys, columns.keys) for t in (k, v))
    mask = _mask(bias, heads, rows, columns).to(q.dtype)
    with without_autocast(q):
        y = F.scaled_dot_product_attention(queries, keys, values, mask, scale=scale)
    y = y.view(batch, rows.tiles, columns.tiles, heads, _TILE, _TILE, dim)
    y = y.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, rows.tiles * _TILE, columns.tiles * _TILE, heads, dim)
    return y[:, :height, :width]


def _tiles(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(B, H, W, heads, D) and places (tiles, n) along each axis -> (B, tiles * heads, n * n, D)."""
    x = x.index_select(1, rows.flatten()).index_select(2, columns.flatten())
    x = x.view(x.shape[0], *rows.shape, *columns.shape, *x.shape[3:]).permute(0, 1, 3, 5, 2, 4, 6)
    return x.reshape(x.shape[0], len(rows) * len(columns) * x.shape[3], -1, x.shape[-1])


def _mask(bias: Tensor | None, heads: int, rows: _Axis, columns: _Axis) -> Tensor:
    """(tiles * heads, queries, keys): the bias inside each query's window, -inf outside."""
    outside = rows.outside[:, None, :, None, :, None] | columns.outside[None, :, None, :, None, :]
    if bias is None:
        bias = torch.zeros((), device=outside.device).expand(heads, *outside.shape)
    else:
        bias = bias[:, rows.offsets[:, None, :, None, :, None], columns.offsets[None, :, None, :, None, :]]
    bias = bias.masked_fill(outside, -torch.inf).permute(1, 2, 0, 3, 4, 5, 6)
    return bias.reshape(rows.tiles * columns.tiles * heads, _TILE * _TILE, -1)


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
