"""The values that travel along the line: small frozen dataclasses of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Latents:
    """Latents of a batch of pictures of one size; `latents[i]`, `latents[a:b]` and `latents[[i, j]]` are of some.

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

    @property
    def y(self) -> Tensor:
        """The shallowest level, (B, C, h, w)."""
        return self.levels[0]

    def __len__(self) -> int:
        return self.y.shape[0]

    def __getitem__(self, pictures: int | slice | Sequence[int]) -> Latents:
        """The latents of one picture (a batch of 1) or of several. IndexError for one that is not there."""
        if isinstance(pictures, slice):
            chosen = list(range(len(self)))[pictures]
        else:
            chosen = [pictures] if isinstance(pictures, int) else list(pictures)
        for number in chosen:
            if not -len(self) <= number < len(self):
                raise IndexError(f"there is no picture {number}: these are latents of {len(self)}")
        quality = None if self.quality is None else tuple(self.quality[number] for number in chosen)
        rows = slice(None) if len(self) == 1 and chosen == [0] else torch.tensor(chosen, dtype=torch.int64)
        # Means and scales of a level may be given once for all pictures.
        picked = self._map(lambda value: value[rows] if value.ndim == 4 and value.shape[0] == len(self) else value)
        return replace(picked, quality=quality)

    def to(self, device: torch.device | str) -> Latents:
        """The same on a device."""
        return self._map(lambda value: value.to(device))

    def detach(self) -> Latents:
        """The same without gradients."""
        return self._map(Tensor.detach)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Latents:
        def all_of(values: tuple[Tensor | None, ...] | None) -> tuple[Tensor | None, ...] | None:
            return None if values is None else tuple(None if value is None else change(value) for value in values)

        levels = tuple(change(value) for value in self.levels)
        return replace(self, levels=levels, means=all_of(self.means), scales=all_of(self.scales))


@dataclass(frozen=True)
class Parameters:
    """What a step is coded with; tensors broadcast to (B, C, h, w), C the channels of the step.

    In a float walk `mean` and `scale` are floats, and scale None means the prior. In an exact walk means are integers
    over 2^8 (float64 or float32), unless no later step depends on them, and scale is None. indexes: the tables, uint8,
    in an exact walk and under the prior. computed: whether tables depend on earlier steps, so that a checksum is kept.
    gathered: tensors are of the step's own elements already, (B, n).
    """

    mean: Tensor
    scale: Tensor | None = None
    indexes: Tensor | None = None
    computed: bool = True
    gathered: bool = False


@dataclass(frozen=True)
class Rated:
    """The outcome of `quantize`: `latents` as passed on, with means and scales; `bits` (B,) of each level, y first."""

    latents: Latents
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
