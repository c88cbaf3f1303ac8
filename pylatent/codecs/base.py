"""The codec's base class: it owns the walk over the levels, and with it quantize, encode, decode and forward.

    pixels ─ analyze ─► latents ─ encode ─► bitstreams ─ decode ─► latents ─ synthesize ─► pixels

A codec is a chain of levels z_L → … → z_1 → pixels (level 0 is the shallowest). The author of one writes the analysis,
the parameter network of each level, its exact form for coding, and the synthesis; what "round" means is an argument.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.codecs.coding import check_float32, decode, encode, quantized
from pylatent.codecs.latents import CodecOutput, Latents, LevelParameters, Quantized
from pylatent.codecs.rounding import Rounding, mixed, nearest
from pylatent.coding.container import Bitstream
from pylatent.coding.tables import CdfTables
from pylatent.errors import ModelError

QUALITY_STEP = 1 / 64  # the grid on which a record stores the quality


@dataclass(frozen=True)
class ExactParameters:
    """What a level is coded with: `mean` as integers over 2^8 (float64 or float32), `indexes` of the tables (uint8).

    Both broadcast to the level's shape (B, C, h, w). `computed` says that the indexes come from deeper levels, so that
    the stream carries a checksum of them.
    """

    mean: Tensor
    indexes: Tensor
    computed: bool


class Codec(nn.Module, ABC):
    """Base of all codecs. Attributes: `num_levels`; `alignment`, the multiple of pixels that the analysis needs;
    `lambdas`, the weights of 255² MSE that it was trained with, one per integer quality, where known."""

    num_levels: int
    alignment: int
    name: str = "unnamed"
    lambdas: tuple[float, ...] | None = None
    _fingerprint: tuple[CdfTables, tuple[tuple[int, int], ...], bytes] | None = None  # of the tables and weights named

    # What the author of a codec writes.

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, as a model file stores them (JSON)."""

    @property
    def qualities(self) -> tuple[float, float] | None:
        """Lowest and highest quality of a variable-rate codec; None for a fixed rate."""
        return None

    @property
    def default_quality(self) -> float | None:
        """The quality used when none is given; None for a fixed rate."""
        return None

    @abstractmethod
    def level_shapes(self, size: tuple[int, int]) -> tuple[tuple[int, int, int], ...]:
        """(channels, height, width) of each level, the shallowest first, for a picture of (height, width) pixels."""

    @abstractmethod
    def analysis(self, x: Tensor, quality: Tensor | None) -> tuple[Tensor, ...]:
        """Aligned pixels (B, 3, H, W) and quality (B,) -> unquantised levels, the shallowest first."""

    @abstractmethod
    def synthesis(self, y_hat: Tensor, quality: Tensor | None) -> Tensor:
        """Level 0, quantised -> pixels (B, 3, H, W), aligned and not clamped."""

    @abstractmethod
    def parameters_of(self, level: int, hats: Sequence[Tensor | None], size: tuple[int, int]) -> LevelParameters:
        """Mean and scale of a level from the quantised deeper ones, differentiable; `size` is the picture's."""

    @abstractmethod
    def bits_of(self, level: int, residual: Tensor, parameters: LevelParameters) -> Tensor:
        """Bits of each element of a level's quantised residual, differentiable."""

    @abstractmethod
    def exact_parameters_of(
        self, level: int, grids: Sequence[Tensor | None], size: tuple[int, int], device: torch.device
    ) -> ExactParameters:
        """The same for coding: from the deeper levels as integers over 2^8 in float64."""

    @abstractmethod
    def tables_of(self, level: int) -> CdfTables:
        """The integer tables that code a level. Raises ModelError before `update`."""

    @abstractmethod
    def scales_of(self, level: int) -> Tensor | None:
        """The standard deviation that each table of a level stands for, float32; None for a learned prior."""

    @abstractmethod
    def update(self) -> None:
        """Build the integer tables and the exact parameter networks from the float weights, for encode and decode."""

    @abstractmethod
    def coding_state(self) -> dict[str, Tensor]:
        """All integers that steer the coder, as tensors that a model file stores. Raises ModelError before `update`."""

    @abstractmethod
    def load_coding_state(self, state: dict[str, Tensor]) -> None:
        """Take tables and exact networks from `coding_state`'s tensors instead of building them."""

    @abstractmethod
    def synthesis_state(self) -> dict[str, Tensor]:
        """The float weights that the synthesis uses; with `coding_state`, what the fingerprint covers."""

    # The verbs.

    def analyze(self, x: Tensor, quality: float | Sequence[float] | None = None) -> Latents:
        """Pixels (B, 3, H, W) in [0, 1], any size from 1x1 -> unquantised latents.

        quality: one value, or one per picture, in `qualities`, taken to the nearest 1/64; for variable-rate codecs.
        Raises ValueError for a wrong shape, dtype or quality.
        """
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < 1:
            raise ValueError(f"`x` must have shape (B, 3, H, W), got {tuple(x.shape)}")
        if not x.is_floating_point():
            raise ValueError(f"`x` must be a floating-point tensor in [0, 1], got {x.dtype}")
        size = (int(x.shape[2]), int(x.shape[3]))
        qualities = self._qualities(quality, x.shape[0])
        levels = self.analysis(_pad(x, self.alignment), self._quality_tensor(qualities, x.device))
        return Latents(levels, size, qualities)

    def quantize(self, latents: Latents, rounding: Rounding) -> Quantized:
        """One walk over the levels, the deepest first, with the float parameter networks; differentiable."""
        hats: list[Tensor | None] = [None] * self.num_levels
        means, scales, bits = [], [], []
        for level in reversed(range(self.num_levels)):
            parameters = self.parameters_of(level, hats, latents.size)
            paid, passed = rounding(latents.levels[level] - parameters.mean, level)
            hats[level] = passed + parameters.mean
            means.append(parameters.mean)
            scales.append(parameters.scale)
            bits.append(self.bits_of(level, paid, parameters).sum((1, 2, 3)))
        values = tuple(hat for hat in hats if hat is not None)
        return Quantized(values, tuple(means[::-1]), tuple(scales[::-1]), tuple(bits[::-1]))

    def encode(self, latents: Latents, *, threads: int | None = None) -> list[Bitstream]:
        """Unquantised latents -> one Bitstream per picture of the batch.

        The bytes depend on the latents alone: not on threads, batch, SIMD level or ambient torch settings. Raises
        ValueError for latents that are not finite, not float32 or of a wrong shape, ModelError before `update`.
        """
        return encode(self, latents, threads)

    def decode(self, streams: Sequence[Bitstream], *, threads: int | None = None) -> Latents:
        """Bitstreams (pictures of one size) -> quantised latents with means and scales; no pixels are computed.

        Raises FormatError for damaged streams, MismatchError for another model's.
        """
        return decode(self, streams, threads)

    def quantized(self, latents: Latents) -> Latents:
        """What `decode(encode(latents))` returns, without coding."""
        return quantized(self, latents)

    def synthesize(self, latents: Latents) -> Tensor:
        """Quantised latents -> pixels (B, 3, H, W) in [0, 1] of the original size."""
        quality = self._quality_tensor(latents.quality, latents.levels[0].device)
        height, width = latents.size
        return self.synthesis(latents.levels[0], quality)[..., :height, :width].clamp(0, 1)

    def forward(
        self, x: Tensor, quality: float | Sequence[float] | None = None, rounding: Rounding | None = None
    ) -> CodecOutput:
        """Pixels -> reconstruction and bits; in training by mixed quantisation and unclamped, else as it is coded."""
        latents = self.analyze(x, quality)
        quantized = self.quantize(latents, rounding or (mixed if self.training else nearest))
        latents = Latents(quantized.hats, latents.size, latents.quality, quantized.means, quantized.scales)
        if self.training:
            height, width = latents.size
            levels, qualities = latents.levels, self._quality_tensor(latents.quality, x.device)
            return CodecOutput(self.synthesis(levels[0], qualities)[..., :height, :width], quantized.bits, latents)
        return CodecOutput(self.synthesize(latents), quantized.bits, latents)

    @torch.no_grad()
    def compress(
        self, x: Tensor, quality: float | Sequence[float] | None = None, *, threads: int | None = None
    ) -> list[Bitstream]:
        """Pixels (B, 3, H, W) in [0, 1] -> one Bitstream per picture; `encode(analyze(x))` in full precision."""
        check_float32(self)
        with torch.autocast(x.device.type, enabled=False):
            return self.encode(self.analyze(x, quality), threads=threads)

    @torch.no_grad()
    def decompress(self, streams: Sequence[Bitstream], *, threads: int | None = None) -> Tensor:
        """Bitstreams (pictures of one size) -> pixels (B, 3, H, W) in [0, 1]."""
        with torch.autocast(self.device.type, enabled=False):
            return self.synthesize(self.decode(streams, threads=threads))

    # Small things shared by the above.

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def fingerprint(self) -> bytes:
        """SHA-256 over everything that decoding uses: tables, exact networks, synthesis weights as float32."""
        weights, tables = self.synthesis_state(), self.tables_of(0)
        versions = tuple((value.data_ptr(), value._version) for value in weights.values())
        known = self._fingerprint
        if known is not None and known[0] is tables and known[1] == versions:
            return known[2]
        self._fingerprint = (tables, versions, self._digest(weights))
        return self._fingerprint[2]

    def _digest(self, weights: dict[str, Tensor]) -> bytes:
        digest = hashlib.sha256()
        state = {**self.coding_state(), **weights}
        for key in sorted(state):
            values = state[key].detach().cpu().contiguous()
            values = values.float() if values.is_floating_point() else values.to(torch.int32)
            digest.update(f"{key} {tuple(values.shape)}".encode())
            digest.update(values.numpy().astype(values.numpy().dtype.newbyteorder("<")).tobytes())
        return digest.digest()

    def _qualities(self, quality: float | Sequence[float] | None, batch: int) -> tuple[float, ...] | None:
        if self.qualities is None:
            if quality is not None:
                raise ValueError(f"model {self.name} has a fixed rate: `quality` must be None, got {quality}")
            return None
        if quality is None:
            quality = self.default_quality
        values = [quality] * batch if isinstance(quality, int | float) else list(quality or ())
        if len(values) != batch:
            raise ValueError(f"`quality` must be one number or {batch} of them, got {len(values)}")
        lowest, highest = self.qualities
        for value in values:
            if not lowest <= value <= highest:
                raise ValueError(f"`quality` must be from {lowest:g} to {highest:g}, got {value}")
        return tuple(round(value / QUALITY_STEP) * QUALITY_STEP for value in values)

    def _quality_tensor(self, qualities: tuple[float, ...] | None, device: torch.device) -> Tensor | None:
        return None if qualities is None else torch.tensor(qualities, dtype=torch.float32, device=device)


def _pad(x: Tensor, alignment: int) -> Tensor:
    """Repeat the last row and column up to the next multiple of `alignment` pixels."""
    bottom, right = -x.shape[2] % alignment, -x.shape[3] % alignment
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def not_ready(codec: Codec) -> ModelError:
    """The error of a codec that has no tables yet."""
    return ModelError(f"model {codec.name} is not ready for coding: call update() once after training or loading")
