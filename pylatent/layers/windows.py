"""Window attention of the Swin transformer, and the blocks of TCM that mix it with convolutions.

Liu et al. 2021 (arXiv 2103.14030) and Liu et al. 2023 (arXiv 2303.14978), with the names of the latter's state dicts.
Sides must be multiples of the window.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.layers.resampling import ResidualBlock


class WindowAttention(nn.Module):
    """Self-attention in windows, shifted by half a window or not: (B, H, W, channels) -> same.

    The bias of a query and a key depends on their offset. Shifted windows are cut at the borders of the map, as the
    cyclic shift with masks does.
    """

    inside: Tensor
    apart: Tensor

    def __init__(self, channels: int, head_channels: int, window: int, *, shifted: bool) -> None:
        super().__init__()
        if channels % head_channels:
            raise ValueError(f"`channels` must be a multiple of head_channels = {head_channels}, got {channels}")
        self.heads, self.window, self.shift = channels // head_channels, window, window // 2 if shifted else 0
        self.embedding_layer = nn.Linear(channels, 3 * channels)
        self.relative_position_params = nn.Parameter(torch.empty(self.heads, 2 * window - 1, 2 * window - 1))
        self.linear = nn.Linear(channels, channels)
        nn.init.trunc_normal_(self.relative_position_params, std=0.02)
        row, column = (places.flatten() for places in torch.meshgrid(*[torch.arange(window)] * 2, indexing="ij"))
        offsets = [side[:, None] - side[None, :] + window - 1 for side in (row, column)]
        self.register_buffer("inside", torch.stack(offsets), persistent=False)
        halves = [side >= window - self.shift for side in (row, column)]
        apart = torch.stack([half[:, None] != half[None, :] for half in halves])
        self.register_buffer("apart", apart, persistent=False)  # in the last row and column of windows

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        window, shift = self.window, self.shift
        if height % window or width % window:
            raise ValueError(f"`x` must have sides that are multiples of {window}, got {height}x{width}")
        if shift:
            x = torch.roll(x, (-shift, -shift), (1, 2))
        grid = (batch, height // window, width // window)
        x = x.view(batch, grid[1], window, grid[2], window, channels).transpose(2, 3).reshape(-1, channels)
        qkv = self.embedding_layer(x).view(*grid, window * window, 3, self.heads, -1)
        q, k, v = qkv.permute(4, 0, 1, 2, 5, 3, 6)
        bias = self.relative_position_params[:, self.inside[0], self.inside[1]]
        x = self._in_shifted_windows(q, k, v, bias) if shift else _attend(q, k, v, bias)
        x = self.linear(x.transpose(3, 4).flatten(4)).view(*grid, window, window, channels)
        x = x.transpose(2, 3).reshape(batch, height, width, channels)
        return torch.roll(x, (shift, shift), (1, 2)) if shift else x

    def _in_shifted_windows(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """Four kinds of windows, each with its mask, which is thus not repeated for every window."""
        bands = []
        for rows, at_bottom in ((slice(0, -1), False), (slice(-1, None), True)):
            band = []
            for columns, at_right in ((slice(0, -1), False), (slice(-1, None), True)):
                apart = (self.apart[0] & at_bottom) | (self.apart[1] & at_right)
                some = (slice(None), rows, columns)
                band.append(_attend(q[some], k[some], v[some], bias.masked_fill(apart, -torch.inf)))
            bands.append(torch.cat(band, 2))
        return torch.cat(bands, 1)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """(B, rows, columns, heads, places, channels) each, bias (heads, places, places) -> the same shape."""
    if q.numel() == 0:
        return q
    x = F.scaled_dot_product_attention(q.flatten(0, 2), k.flatten(0, 2), v.flatten(0, 2), bias[None].to(q.dtype))
    return x.view(q.shape)


class WindowBlock(nn.Module):
    """LayerNorm, window attention, add; LayerNorm, MLP, add: (B, H, W, channels) -> same."""

    def __init__(self, channels: int, head_channels: int, window: int, *, shifted: bool) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(channels)
        self.msa = WindowAttention(channels, head_channels, window, shifted=shifted)
        self.ln2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.msa(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class WindowPair(nn.Module):
    """A window block, then a shifted one: (B, channels, H, W) -> same."""

    def __init__(self, channels: int, head_channels: int, window: int) -> None:
        super().__init__()
        self.block_1 = WindowBlock(channels, head_channels, window, shifted=False)
        self.block_2 = WindowBlock(channels, head_channels, window, shifted=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.block_1(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class MixedBlock(nn.Module):
    """Half of the channels through a residual block, half through a window block: (B, 2 channels, H, W) -> same."""

    def __init__(self, channels: int, head_channels: int, window: int, *, shifted: bool) -> None:
        super().__init__()
        self.trans_block = WindowBlock(channels, head_channels, window, shifted=shifted)
        self.conv1_1 = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.conv1_2 = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.conv_block = ResidualBlock(channels)

    def forward(self, x: Tensor) -> Tensor:
        local, distant = self.conv1_1(x).chunk(2, 1)
        local = self.conv_block(local) + local
        distant = self.trans_block(distant.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.conv1_2(torch.cat([local, distant], 1))


class WindowGate(nn.Module):
    """TCM's attention in front of parameter networks: x + a(x) sigmoid(b(x)), b after a pair of window blocks.

    (B, channels, H, W) -> same, with `inner` channels between.
    """

    def __init__(self, channels: int, inner: int, head_channels: int, window: int) -> None:
        super().__init__()
        self.in_conv, self.out_conv = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)
        self.non_local_block = WindowPair(inner, head_channels, window)
        self.conv_a = nn.Sequential(*(_Unit(inner) for _ in range(3)))
        self.conv_b = nn.Sequential(*(_Unit(inner) for _ in range(3)), nn.Conv2d(inner, inner, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.in_conv(x)
        return self.out_conv(x + self.conv_a(x) * torch.sigmoid(self.conv_b(self.non_local_block(x))))


class _Unit(nn.Module):
    """relu(x + a bottleneck of half the channels), of Cheng et al. 2020 (arXiv 2001.01568)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv = nn.Sequential(
            nn.Conv2d(channels, half, 1),
            nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(half, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.conv(x))
