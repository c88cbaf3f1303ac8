"""TinyLIC as the published code runs it on a CPU: CompressAI's layers and list-based coder, keys and values of every
window unfolded, and each stage's parameters computed on the whole grid.

The side to measure `pylatent.codecs.TinyLIC` against, from arXiv 2204.11448 and the published code; state dicts fit
both. NATTEN had a CPU form of this attention until 0.17 and has none since: unfolding is what is left in plain torch.
"""

from __future__ import annotations

import math
import warnings
from itertools import pairwise

import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    from compressai.ans import BufferedRansEncoder, RansDecoder
    from compressai.entropy_models import EntropyBottleneck, GaussianConditional
    from compressai.models import CompressionModel
    from compressai.models.utils import conv, deconv

HEAD = 16
PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))
# By slice, the phases of its stages.
STAGES = ([[each] for each in PHASES], [PHASES[2:], PHASES[:2]], [PHASES[:2], PHASES[2:]], [PHASES])
MASKS = ("A", "B", "C"), ("B",), ("B",), ()


class Attention(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.heads, self.kernel = channels // HEAD, kernel
        self.qkv = nn.Linear(channels, 3 * channels)
        self.bias = nn.Parameter(torch.zeros(self.heads, 2 * kernel - 1, 2 * kernel - 1))
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel
        q, k, v = (t.unflatten(-1, (self.heads, HEAD)) for t in self.qkv(x).chunk(3, -1))
        starts = [(torch.arange(n) - kernel // 2).clamp(0, n - kernel) for n in x.shape[1:3]]
        rows, columns = (start[:, None] + torch.arange(kernel) for start in starts)
        k, v = (t[:, rows[:, None, :, None], columns[None, :, None, :]] for t in (k, v))
        up, back = (t - torch.arange(len(t))[:, None] + kernel - 1 for t in (rows, columns))
        scores = torch.einsum("byxhd,byxmnhd->byxhmn", q * HEAD**-0.5, k)
        scores = scores + self.bias[:, up[:, None, :, None], back[None, :, None, :]].permute(1, 2, 0, 3, 4)
        y = torch.einsum("byxhmn,byxmnhd->byxhd", scores.flatten(4).softmax(-1).view_as(scores), v)
        return self.proj(y.flatten(3))


class Block(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = Attention(channels, kernel)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


class Residual(nn.Module):
    def __init__(self, channels: int, depth: int, kernel: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(channels, kernel) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.blocks(x.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2).contiguous()


class Masked(nn.Conv2d):
    """A: the corners of the window; B: every second tap, as on a chessboard; C: besides, those in odd rows."""

    def __init__(self, width: int, kernel: int, kind: str) -> None:
        super().__init__(width, 2 * width, kernel, padding=kernel // 2)
        self.register_buffer("mask", torch.zeros_like(self.weight))
        if kind == "A":
            self.mask[:, :, 0::2, 0::2] = 1
            return
        self.mask[:, :, 0::2, 1::2] = 1
        self.mask[:, :, 1::2, 0::2] = 1
        if kind == "C":
            self.mask[:, :, 1::2, 1::2] = 1

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data *= self.mask
        return super().forward(x)


class PeerTinyLIC(CompressionModel):
    def __init__(self, N: int = 128, M: int = 320) -> None:
        super().__init__()
        Z, sides, depths = N * 3 // 2, (N, N * 3 // 2, 2 * N, M), (2, 2, 6, 2)
        g_a: list[nn.Module] = []
        for before, side, depth in zip((3, *sides), sides, depths, strict=False):
            g_a += [conv(before, side, 5 if before == 3 else 3), Residual(side, depth, 7)]
        g_s: list[nn.Module] = []
        for side, after, depth in zip(sides[::-1], (*sides[2::-1], 3), depths[::-1], strict=True):
            g_s += [Residual(side, depth, 7), deconv(side, after, 5 if after == 3 else 3)]
        self.g_a, self.g_s = nn.Sequential(*g_a), nn.Sequential(*g_s)
        self.h_a = nn.Sequential(conv(M, Z, 3), Residual(Z, 2, 3), conv(Z, Z, 3), Residual(Z, 2, 3))
        self.h_s = nn.Sequential(Residual(Z, 2, 3), deconv(Z, Z, 3), Residual(Z, 2, 3), deconv(Z, 2 * M, 3))
        ends = [M - math.ceil(M * math.cos(i * math.pi / 8)) for i in range(4)] + [M]
        self.slices = list(pairwise(ends))
        self.cc_transforms, self.sc_transforms, self.entropy_parameters = (nn.ModuleList() for _ in range(3))
        for (start, stop), masks in zip(self.slices, MASKS, strict=True):
            width = stop - start
            context = [conv(2 * M + start, width, 5, 1), conv(width, width, 5, 1), conv(width, 2 * width, 3, 1)]
            self.cc_transforms.append(with_gelu(context))
            self.sc_transforms.extend(Masked(width, 3 if kind == "A" else 5, kind) for kind in masks)
            first, second = (width * 10 // 3, width * 8 // 3) if masks else (2 * width, 2 * width)
            inputs = 2 * M + (4 if masks else 2) * width
            mlp = [conv(inputs, first, 1, 1), conv(first, second, 1, 1), conv(second, 2 * width, 1, 1)]
            self.entropy_parameters.append(with_gelu(mlp))
        self.entropy_bottleneck, self.gaussian_conditional = EntropyBottleneck(Z), GaussianConditional(None)

    def code(self, hyper: Tensor, take) -> Tensor:
        """`take`: channels, phases, indexes and means of a stage -> its values, (1, C, n)."""
        done: list[Tensor] = []
        masked = iter(self.sc_transforms)
        for number, (start, stop) in enumerate(self.slices):
            cc = self.cc_transforms[number](torch.cat([hyper, *done], 1))
            values = torch.zeros(1, stop - start, *hyper.shape[2:])
            for stage, phases in enumerate(STAGES[number]):
                inputs = [hyper, cc]
                if len(STAGES[number]) > 1:
                    inputs.insert(1, next(masked)(values) if stage else torch.zeros_like(cc))
                scales, means = self.entropy_parameters[number](torch.cat(inputs, 1)).chunk(2, 1)
                scales, means = at(scales, phases), at(means, phases)
                indexes = self.gaussian_conditional.build_indexes(scales)
                parts = take((start, stop), phases, indexes, means).chunk(len(phases), 2)
                for phase, part in zip(phases, parts, strict=True):
                    place = values[:, :, phase[0] :: 2, phase[1] :: 2]
                    place.copy_(part.view_as(place))
            done.append(values)
        return torch.cat(done, 1)

    def tables(self) -> tuple[list, list, list]:
        model = self.gaussian_conditional
        return model.quantized_cdf.tolist(), model.cdf_length.tolist(), model.offset.tolist()

    def compress(self, x: Tensor) -> tuple[bytes, list[bytes], torch.Size]:
        y = self.g_a(x)
        z = self.h_a(y)
        z_strings = self.entropy_bottleneck.compress(z)
        z_hat = self.entropy_bottleneck.decompress(z_strings, z.shape[-2:])
        encoder, symbols, coded = BufferedRansEncoder(), [], []

        def take(channels, phases, indexes: Tensor, means: Tensor) -> Tensor:
            values = at(y[:, channels[0] : channels[1]], phases)
            quantized = self.gaussian_conditional.quantize(values, "symbols", means)
            symbols.extend(quantized.reshape(-1).tolist())
            coded.extend(indexes.reshape(-1).tolist())
            return quantized + means

        self.code(self.h_s(z_hat), take)
        encoder.encode_with_indexes(symbols, coded, *self.tables())
        return encoder.flush(), z_strings, z.shape[-2:]

    def decode(self, string: bytes, z_strings: list[bytes], shape: torch.Size) -> Tensor:
        z_hat = self.entropy_bottleneck.decompress(z_strings, shape)
        tables, decoder = self.tables(), RansDecoder()
        decoder.set_stream(string)

        def take(channels, phases, indexes: Tensor, means: Tensor) -> Tensor:
            values = decoder.decode_stream(indexes.reshape(-1).tolist(), *tables)
            return self.gaussian_conditional.dequantize(torch.Tensor(values).reshape(means.shape), means)

        return self.code(self.h_s(z_hat), take)


def with_gelu(layers: list[nn.Module]) -> nn.Sequential:
    return nn.Sequential(layers[0], nn.GELU(), layers[1], nn.GELU(), layers[2])


def at(values: Tensor, phases) -> Tensor:
    """(1, C, H, W) -> (1, C, n): the positions of these phases, one phase after the other."""
    return torch.cat([values[:, :, row::2, column::2].flatten(2) for row, column in phases], 2)
