"""The values that travel along the line: small frozen dataclasses of tensors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Latents:
    """Latents of a batch of pictures of one size.

    levels: one tensor (B, C, h, w) per level, the shallowest (y) first, after any gain; float32.
    size: height and width of the pictures in pixels.
    quality: one value per picture for a variable-rate codec, else None.
    means, scales: per level, of the quantised latents that `decode` returns (None where a level has none).
    """

    levels: tuple[Tensor, ...]
    size: tuple[int, int]
    quality: tuple[float, ...] | None = None
    means: tuple[Tensor | None, ...] | None = None
    scales: tuple[Tensor | None, ...] | None = None


@dataclass(frozen=True)
class LevelParameters:
    """What a level is coded with: mean and scale, broadcastable to the level; `scale` is None for a learned prior."""

    mean: Tensor
    scale: Tensor | None = None


@dataclass(frozen=True)
class Quantized:
    """The outcome of the walk, per level, the shallowest first: values, means, scales, and bits (B,) each."""

    hats: tuple[Tensor, ...]
    means: tuple[Tensor, ...]
    scales: tuple[Tensor | None, ...]
    bits: tuple[Tensor, ...]


@dataclass(frozen=True)
class CodecOutput:
    """`x_hat` (B, 3, H, W); `bits`: one tensor (B,) per level, the shallowest first; `latents` as quantised."""

    x_hat: Tensor
    bits: tuple[Tensor, ...]
    latents: Latents

    @property
    def bpp(self) -> Tensor:
        """(B,) bits per pixel."""
        height, width = self.latents.size
        return sum(self.bits[1:], self.bits[0]) / (height * width)
