"""TCM as it is usually written: CompressAI's layers and list-based coder, attention by einsum, no batches.

The side to measure `pylatent.codecs.TCM` against, from the description in arXiv 2303.14978; state dicts fit both.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    from compressai.ans import BufferedRansEncoder, RansDecoder
    from compressai.entropy_models import EntropyBottleneck, GaussianConditional
    from compressai.layers import (
        AttentionBlock,
        ResidualBlock,
        ResidualBlockUpsample,
        ResidualBlockWithStride,
        conv1x1,
        conv3x3,
        subpel_conv3x3,
    )
    from compressai.models import CompressionModel
    from compressai.models.utils import conv


class Attention(nn.Module):
    def __init__(self, channels: int, head: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.head, self.heads, self.window, self.shifted = head, channels // head, window, shifted
        self.embedding_layer = nn.Linear(channels, 3 * channels)
        self.relative_position_params = nn.Parameter(torch.zeros(self.heads, 2 * window - 1, 2 * window - 1))
        self.linear = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        p, half = self.window, self.window // 2
        if self.shifted:
            x = torch.roll(x, (-half, -half), (1, 2))
        b, h, w, c = x.shape
        windows = x.reshape(b, h // p, p, w // p, p, c).transpose(2, 3).reshape(b, -1, p * p, c)
        q, k, v = (
            each.reshape(b, -1, p * p, self.heads, self.head).permute(3, 0, 1, 2, 4)
            for each in self.embedding_layer(windows).chunk(3, -1)
        )
        scores = torch.einsum("hbnqc,hbnkc->hbnqk", q, k) * self.head**-0.5
        places = torch.stack(torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij"), -1).view(-1, 2)
        offsets = places[:, None] - places[None] + p - 1
        scores = scores + self.relative_position_params[:, offsets[..., 0], offsets[..., 1]][:, None, None]
        if self.shifted:
            scores = scores.masked_fill(self.mask(h // p, w // p, places), -torch.inf)
        mixed = torch.einsum("hbnqk,hbnkc->hbnqc", scores.softmax(-1), v).permute(1, 2, 3, 0, 4).flatten(3)
        x = self.linear(mixed).reshape(b, h // p, w // p, p, p, c).transpose(2, 3).reshape(b, h, w, c)
        return torch.roll(x, (half, half), (1, 2)) if self.shifted else x

    def mask(self, rows: int, columns: int, places: Tensor) -> Tensor:
        other = (places >= self.window // 2)[:, None] != (places >= self.window // 2)[None]
        mask = torch.zeros(rows, columns, *other.shape[:2], dtype=torch.bool)
        mask[-1] |= other[..., 0]
        mask[:, -1] |= other[..., 1]
        return mask.flatten(0, 1)


class Transformer(nn.Module):
    def __init__(self, channels: int, head: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.msa = Attention(channels, head, window, shifted)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.msa(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class Mixed(nn.Module):
    def __init__(self, channels: int, head: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.trans_block = Transformer(channels, head, window, shifted)
        self.conv1_1, self.conv1_2 = conv1x1(2 * channels, 2 * channels), conv1x1(2 * channels, 2 * channels)
        self.conv_block = ResidualBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.conv1_1(x).chunk(2, 1)
        a = self.conv_block(a) + a
        b = self.trans_block(b.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2).contiguous()
        return x + self.conv1_2(torch.cat((a, b), 1))


class Pair(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = Transformer(channels, 16, 8, False)
        self.block_2 = Transformer(channels, 16, 8, True)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.block_1(x.permute(0, 2, 3, 1).contiguous())).permute(0, 3, 1, 2).contiguous()


class Gate(AttentionBlock):
    def __init__(self, channels: int) -> None:
        super().__init__(128)
        self.non_local_block = Pair(128)
        self.in_conv, self.out_conv = conv1x1(channels, 128), conv1x1(128, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.in_conv(x)
        return self.out_conv(x + self.conv_a(x) * torch.sigmoid(self.conv_b(self.non_local_block(x))))


def pair(channels: int, head: int, window: int) -> list[nn.Module]:
    return [Mixed(channels, head, window, shifted) for shifted in (False, True)]


def transforms(inputs: int, outputs: int) -> nn.Sequential:
    layers = [conv(a, b, 3, 1) for a, b in ((inputs, 224), (224, 128), (128, outputs))]
    return nn.Sequential(layers[0], nn.GELU(), layers[1], nn.GELU(), layers[2])


class PeerTCM(CompressionModel):
    def __init__(self, N: int = 64, M: int = 320, Z: int = 192, slices: int = 5) -> None:
        super().__init__()
        self.slices, width, down, up = slices, M // slices, ResidualBlockWithStride, ResidualBlockUpsample
        self.g_a = nn.Sequential(
            down(3, 2 * N),
            *pair(N, 8, 8),
            down(2 * N, 2 * N),
            *pair(N, 16, 8),
            down(2 * N, 2 * N),
            *pair(N, 32, 8),
            conv3x3(2 * N, M, 2),
        )
        self.g_s = nn.Sequential(
            up(M, 2 * N),
            *pair(N, 32, 8),
            up(2 * N, 2 * N),
            *pair(N, 16, 8),
            up(2 * N, 2 * N),
            *pair(N, 8, 8),
            subpel_conv3x3(2 * N, 3, 2),
        )
        self.h_a = nn.Sequential(down(M, 2 * N), *pair(N, 32, 4), conv3x3(2 * N, Z, 2))
        self.h_mean_s, self.h_scale_s = (
            nn.Sequential(up(Z, 2 * N), *pair(N, 32, 4), subpel_conv3x3(2 * N, M, 2)) for _ in range(2)
        )
        inputs = [M + width * number for number in range(slices + 1)]
        self.atten_mean, self.atten_scale = (
            nn.ModuleList(nn.Sequential(Gate(count)) for count in inputs[:-1]) for _ in range(2)
        )
        self.cc_mean_transforms, self.cc_scale_transforms = (
            nn.ModuleList(transforms(count, width) for count in inputs[:-1]) for _ in range(2)
        )
        self.lrp_transforms = nn.ModuleList(transforms(count, width) for count in inputs[1:])
        self.entropy_bottleneck, self.gaussian_conditional = EntropyBottleneck(Z), GaussianConditional(None)

    def slice(self, number: int, hyper: list[Tensor], before: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        mean, scale = (torch.cat([each, *before], 1) for each in hyper)
        mean, scale = self.atten_mean[number](mean), self.atten_scale[number](scale)
        return mean, self.cc_mean_transforms[number](mean), self.cc_scale_transforms[number](scale)

    def corrected(self, number: int, support: Tensor, values: Tensor) -> Tensor:
        return values + 0.5 * torch.tanh(self.lrp_transforms[number](torch.cat([support, values], 1)))

    def tables(self) -> tuple[list, list, list]:
        model = self.gaussian_conditional
        return model.quantized_cdf.tolist(), model.cdf_length.tolist(), model.offset.tolist()

    def compress(self, x: Tensor) -> tuple[bytes, list[bytes], torch.Size]:
        y = self.g_a(x)
        z = self.h_a(y)
        z_strings = self.entropy_bottleneck.compress(z)
        z_hat = self.entropy_bottleneck.decompress(z_strings, z.shape[-2:])
        hyper, done = [self.h_mean_s(z_hat), self.h_scale_s(z_hat)], []
        encoder, symbols, indexes = BufferedRansEncoder(), [], []
        for number, values in enumerate(y.chunk(self.slices, 1)):
            support, mean, scale = self.slice(number, hyper, done)
            quantized = self.gaussian_conditional.quantize(values, "symbols", mean)
            symbols.extend(quantized.reshape(-1).tolist())
            indexes.extend(self.gaussian_conditional.build_indexes(scale).reshape(-1).tolist())
            done.append(self.corrected(number, support, quantized + mean))
        encoder.encode_with_indexes(symbols, indexes, *self.tables())
        return encoder.flush(), z_strings, z.shape[-2:]

    def decode(self, string: bytes, z_strings: list[bytes], shape: torch.Size) -> Tensor:
        z_hat = self.entropy_bottleneck.decompress(z_strings, shape)
        hyper, done, tables, decoder = [self.h_mean_s(z_hat), self.h_scale_s(z_hat)], [], self.tables(), RansDecoder()
        decoder.set_stream(string)
        for number in range(self.slices):
            support, mean, scale = self.slice(number, hyper, done)
            indexes = self.gaussian_conditional.build_indexes(scale)
            values = torch.tensor(decoder.decode_stream(indexes.reshape(-1).tolist(), *tables)).reshape(mean.shape)
            done.append(self.corrected(number, support, values + mean))
        return torch.cat(done, 1)
