"""A codec of ours seen through CompressAI's interface: its dicts, and its strings byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pylatent.codecs.hyperprior import Hyperprior
from pylatent.codecs.rounding import nearest, uniform_noise
from pylatent.codecs.walk import Done, Here, Walk, over, quantize
from pylatent.compat.compressai._coder import RansDecoder, RansEncoder

_STRIDE = 64


class CompressAIView(nn.Module):
    """What `as_compressai` returns: CompressAI's `forward`, `compress` and `decompress` for a codec of ours."""

    def __init__(self, codec: Hyperprior, quality: float | None) -> None:
        super().__init__()
        self.codec = codec
        self.quality = quality

    def forward(self, x: Tensor) -> dict[str, Any]:
        """x (B, 3, H, W) -> {"x_hat", "likelihoods": {"y", "z"}}, with uniform noise in training."""
        latents = self.codec.analyze(x, self.quality)
        rounding = uniform_noise if self.training else nearest
        quantized, bits = quantize(self.codec, latents, rounding, exact=False)
        likelihoods = {name: torch.exp2(-level[0]) for name, level in zip("yz", bits, strict=True)}
        return {"x_hat": self.codec.synthesize(quantized), "likelihoods": likelihoods}

    @torch.no_grad()
    def compress(self, x: Tensor) -> dict[str, Any]:
        """x (B, 3, H, W), sides multiples of 64 -> {"strings": [y's, z's], "shape": (h, w) of z}."""
        if x.shape[-2] % _STRIDE or x.shape[-1] % _STRIDE:
            raise ValueError(
                f"`x` must have sides that are multiples of {_STRIDE}, as CompressAI's, got {tuple(x.shape)}"
            )
        codec, encoder = self.codec, RansEncoder()
        latents = codec.analyze(x, self.quality)
        strings: list[list[bytes]] = [[], []]

        def take(here: Here) -> Tensor:
            symbols, tables = torch.round(here.of(latents) - here.mean), codec.tables_of(here.step.level)
            pairs = zip(symbols.int().cpu(), here.indexes.int(), strict=True)
            strings[here.step.level] = [encoder.encode_with_indexes(*pair, tables) for pair in pairs]
            return symbols

        Walk(codec, over(codec, latents, exact=False), take).end()
        return {"strings": strings, "shape": latents.levels[1].shape[-2:]}

    @torch.no_grad()
    def decompress(self, strings: Sequence[Sequence[bytes]], shape: Sequence[int]) -> dict[str, Tensor]:
        """What `compress` returned, or a CompressAI model with these weights -> {"x_hat"} (B, 3, H, W) in [0, 1]."""
        codec, decoder = self.codec, RansDecoder()
        size, batch = (int(shape[0]) * _STRIDE, int(shape[1]) * _STRIDE), len(strings[0])

        def take(here: Here) -> Tensor:
            tables = codec.tables_of(here.step.level)
            pairs = zip(strings[here.step.level], here.indexes.int(), strict=True)
            symbols = [decoder.decode_with_indexes(string, indexes, tables) for string, indexes in pairs]
            return torch.stack(symbols).to(codec.device).float()

        quality = None if codec.qualities is None else (self.quality or codec.default_quality or 1.0,) * batch
        done = Done(size, codec.level_shapes(size), batch, codec.device, exact=False)
        return {"x_hat": codec.synthesize(Walk(codec, done, take).latents(quality))}


def as_compressai(codec: Hyperprior, *, quality: float | None = None) -> CompressAIView:
    """The codec behind CompressAI's interface, for code that expects its dicts and strings.

    Strings are those that a CompressAI model with the same weights writes and reads: coded with the float parameter
    network, so they are as little portable between machines as CompressAI's. quality: of a variable-rate codec; gains
    are applied outside what CompressAI's model knows. The codec must be ready for coding (`update()`).
    """
    return CompressAIView(codec, quality)
