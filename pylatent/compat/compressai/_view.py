"""A codec of ours seen through CompressAI's interface: its dicts, and its strings byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pylatent.codecs.hyperprior import Hyperprior
from pylatent.codecs.latents import Latents
from pylatent.codecs.rounding import nearest, uniform_noise
from pylatent.compat.compressai._coder import RansDecoder, RansEncoder
from pylatent.entropy.gaussian import SCALE_BOUND, default_scales

_STRIDE = 64


class CompressAIView(nn.Module):
    """What `as_compressai` returns: CompressAI's `forward`, `compress` and `decompress` for a codec of ours."""

    def __init__(self, codec: Hyperprior, quality: float | None) -> None:
        super().__init__()
        self.codec = codec
        self.quality = quality

    def forward(self, x: Tensor) -> dict[str, Any]:
        """x (B, 3, H, W) -> {"x_hat", "likelihoods": {"y", "z"}}, with uniform noise in training."""
        codec = self.codec
        latents = codec.analyze(x, self.quality)
        likelihoods: list[Tensor] = []
        hats: list[Tensor | None] = [None, None]
        for level in (1, 0):
            parameters = codec.parameters_of(level, hats, latents.size)
            residual = latents.levels[level] - parameters.mean
            paid, passed = (uniform_noise if self.training else nearest)(residual, level)
            hats[level] = passed + parameters.mean
            likelihoods.append(torch.exp2(-codec.bits_of(level, paid, parameters)))
        assert hats[0] is not None
        x_hat = codec.synthesize(Latents((hats[0],), latents.size, latents.quality))
        return {"x_hat": x_hat, "likelihoods": {"y": likelihoods[1], "z": likelihoods[0]}}

    @torch.no_grad()
    def compress(self, x: Tensor) -> dict[str, Any]:
        """x (B, 3, H, W), sides multiples of 64 -> {"strings": [y's, z's], "shape": (h, w) of z}."""
        if x.shape[-2] % _STRIDE or x.shape[-1] % _STRIDE:
            raise ValueError(
                f"`x` must have sides that are multiples of {_STRIDE}, as CompressAI's, got {tuple(x.shape)}"
            )
        codec, batch = self.codec, x.shape[0]
        y, z = codec.analyze(x, self.quality).levels
        symbols_z, z_hat = self._rounded(z, codec.entropy_bottleneck.medians.view(-1, 1, 1))
        mean, indexes = self._gaussian(z_hat)
        symbols_y, _ = self._rounded(y, mean)
        channels = self._channels(z.shape[-2:])
        tables_y, tables_z = codec.tables_of(0), codec.tables_of(1)
        encoder = RansEncoder()
        y_strings = [encoder.encode_with_indexes(symbols_y[i], indexes[i], tables_y) for i in range(batch)]
        z_strings = [encoder.encode_with_indexes(symbols_z[i], channels, tables_z) for i in range(batch)]
        return {"strings": [y_strings, z_strings], "shape": z.shape[-2:]}

    @torch.no_grad()
    def decompress(self, strings: Sequence[Sequence[bytes]], shape: Sequence[int]) -> dict[str, Tensor]:
        """What `compress` returned, or a CompressAI model with these weights -> {"x_hat"} (B, 3, H, W) in [0, 1]."""
        codec = self.codec
        y_strings, z_strings = strings
        channels = self._channels(shape)
        decoder = RansDecoder()
        tables_y, tables_z = codec.tables_of(0), codec.tables_of(1)
        z = torch.stack([decoder.decode_with_indexes(s, channels, tables_z) for s in z_strings])
        z_hat = z.to(codec.device).float() + codec.entropy_bottleneck.medians.view(-1, 1, 1)
        mean, indexes = self._gaussian(z_hat)
        pairs = zip(y_strings, indexes, strict=True)
        y = torch.stack([decoder.decode_with_indexes(string, row, tables_y) for string, row in pairs])
        size = (int(shape[0]) * _STRIDE, int(shape[1]) * _STRIDE)
        quality = None if codec.qualities is None else (self.quality or codec.default_quality or 1.0,) * len(y)
        return {"x_hat": codec.synthesize(Latents((y.to(mean.device).float() + mean,), size, quality))}

    def _gaussian(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and table indexes (int32, CPU) of y from the float network, as CompressAI computes them."""
        size = (z_hat.shape[-2] * _STRIDE, z_hat.shape[-1] * _STRIDE)
        parameters = self.codec.parameters_of(0, [None, z_hat], size)
        assert parameters.scale is not None
        scales = parameters.scale.clamp_min(SCALE_BOUND).contiguous()
        indexes = torch.bucketize(scales, default_scales()[:-1].to(scales.device), out_int32=True)
        return parameters.mean, indexes.cpu()

    def _channels(self, shape: Sequence[int]) -> Tensor:
        """Table indexes (N, h, w) of z: the channels."""
        height, width = (int(side) for side in shape)
        return torch.arange(self.codec.N, dtype=torch.int32).view(-1, 1, 1).expand(-1, height, width).contiguous()

    @staticmethod
    def _rounded(values: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        symbols = torch.round(values - mean)
        return symbols.int().cpu(), symbols + mean


def as_compressai(codec: Hyperprior, *, quality: float | None = None) -> CompressAIView:
    """The codec behind CompressAI's interface, for code that expects its dicts and strings.

    Strings are those that a CompressAI model with the same weights writes and reads: coded with the float parameter
    network, so they are as little portable between machines as CompressAI's. quality: of a variable-rate codec; gains
    are applied outside what CompressAI's model knows. The codec must be ready for coding (`update()`).
    """
    return CompressAIView(codec, quality)
