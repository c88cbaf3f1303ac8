"""The codec's base class: it owns the verbs, the coding tables, and with the walk (codecs/walk.py) all that follows.

    pixels ─ analyze ─► latents ─ encode ─► bitstreams ─ decode ─► latents ─ synthesize ─► pixels

A codec has levels (level 0, y, is the shallowest) that are coded in steps. The author of one writes the analysis, the
steps, their parameter networks, these networks' exact form for coding, and the synthesis; what "round" means is an
argument.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent._threads import for_pixels
from pylatent.codecs.checks import check_float32, check_latents, check_pixels, check_streams
from pylatent.codecs.exact import load_float_weights, table_indexes
from pylatent.codecs.latents import CodecOutput, Latents, Parameters, Rated
from pylatent.codecs.rounding import Rounding, mixed, nearest
from pylatent.codecs.steps import Shape, Step, whole_levels
from pylatent.codecs.streams import as_coded, decode, encode
from pylatent.codecs.tables import CodingTables
from pylatent.codecs.walk import Done, Here, quantize
from pylatent.coding.container import Bitstream
from pylatent.coding.tables import CdfTables
from pylatent.entropy.factorized import FactorizedPrior
from pylatent.entropy.gaussian import default_scales, gaussian_bits
from pylatent.entropy.logistic import LogisticPrior
from pylatent.errors import ModelError

QUALITY_STEP = 1 / 64  # the grid on which a record stores the quality


class Codec(nn.Module, ABC):
    """Base of all codecs: the deepest level under a prior of its own, the others Gaussian.

    num_levels. alignment: the multiple of pixels that the analysis needs. exact: whether the parameter networks have
    an exact form; files of a codec without one say so, and may be refused on another machine. decoder_names: beginnings
    of the state dict's names that the synthesis uses. lambdas: the weights of 255² MSE that it was trained with, one
    per integer quality, where known.
    """

    num_levels: int
    alignment: int
    exact = True
    decoder_names: tuple[str, ...] = ("g_s.", "inverse_gain")
    name: str = "unnamed"
    lambdas: tuple[float, ...] | None = None
    _coding: CodingTables | None = None
    _fingerprint: tuple[CodingTables, tuple[tuple[int, int], ...], bytes] | None = None  # of what was named, its digest

    # What the author of a codec writes.

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, as a model file stores them (JSON).

        Of a variable-rate codec, "gains" (a number) or "lambdas" (a list) tells how many integer qualities it has.
        """

    @property
    def qualities(self) -> tuple[float, float] | None:
        """Lowest and highest quality of a variable-rate codec; None for a fixed rate."""
        return None

    @property
    def default_quality(self) -> float | None:
        """The quality used when none is given; None for a fixed rate."""
        return None

    @abstractmethod
    def level_shapes(self, size: tuple[int, int]) -> tuple[Shape, ...]:
        """(channels, height, width) of each level, the shallowest first, for a picture of (height, width) pixels."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The coding order, 1 to 64 steps that cover every level; by default one a level, the deepest first."""
        return whole_levels(self.num_levels)

    @abstractmethod
    def analysis(self, x: Tensor, quality: Tensor | None) -> tuple[Tensor, ...]:
        """Aligned pixels (B, 3, H, W) and quality (B,) -> unquantised levels, the shallowest first."""

    @abstractmethod
    def synthesis(self, levels: Sequence[Tensor], quality: Tensor | None) -> Tensor:
        """All quantised levels and quality (B,) -> pixels (B, 3, H, W), aligned and not clamped."""

    @abstractmethod
    def parameters_of(self, step: Step, done: Done) -> Parameters:
        """What a step is coded with, given what is done: in float and differentiable, or exact if `done.exact`."""

    # Where there is one: what is added to a step's values (B, C, h, w), C its channels, once they are known, such as a
    # latent residual prediction; floats, or integers over 2^8 in float64 in an exact walk; None to leave a step alone.
    correction_of: Callable[[Step, Done], Tensor | None] | None = None

    @property
    @abstractmethod
    def prior(self) -> FactorizedPrior | LogisticPrior:
        """The density of the deepest level, which must be a step of its own if it is a learned one."""

    @property
    @abstractmethod
    def exact_networks(self) -> Mapping[str, nn.Sequential]:
        """The networks that are made exact, by their names in the codec: a model file stores these as integers."""

    # What the author may use.

    def network(self, name: str, done: Done) -> Callable[..., Tensor]:
        """The one of `exact_networks` that the walk needs: its exact form, or the float network itself."""
        return self._ready().networks[name] if done.exact else self.exact_networks[name]

    def prior_parameters(self, done: Done) -> Parameters:
        """Parameters of the deepest level, under its prior."""
        medians = self._ready().medians if done.exact else self.prior.medians
        tables = self.prior.table_of_channel.view(-1, 1, 1)
        return Parameters(medians.view(-1, 1, 1).to(done.device), indexes=tables, computed=False)

    def gaussian(self, mean: Tensor, scale: Tensor, done: Done) -> Parameters:
        """Parameters of a Gaussian step from what networks gave: floats, or integers over 2^8 in an exact walk."""
        if not done.exact:
            return Parameters(mean, scale)
        return Parameters(mean, indexes=table_indexes(scale.float(), self._ready().thresholds))

    # The tables of the coder, and what else steers it.

    def bits_of(self, here: Here, residual: Tensor) -> Tensor:
        """Bits of each element of a step's residual, under its standard deviations or the prior; differentiable."""
        return self.prior.bits(residual) if here.scale is None else gaussian_bits(residual, here.scale)

    def tables_of(self, level: int) -> CdfTables:
        """The integer tables that code a level. Raises ModelError before `update`."""
        return self._ready().tables["z" if level == self.num_levels - 1 else "y"]

    def scales_of(self, level: int) -> Tensor | None:
        """The standard deviation that each table of a level stands for, float32; None under a prior."""
        return None if level == self.num_levels - 1 else default_scales()

    def fit_prior(self) -> None:
        """Solve for medians and tails of a learned prior, before `update`; a fixed one needs nothing."""
        if isinstance(self.prior, FactorizedPrior):
            self.prior.fit_quantiles()

    def update(self, tables: tuple[CdfTables, CdfTables] | None = None) -> None:
        """Build tables and exact networks from the float weights; `tables` (Gaussian, prior's) are taken as given."""
        scales = self.scales_of(0)
        assert scales is not None, "level 0 is Gaussian"
        self._coding = CodingTables.build(self.exact_networks, self.prior, scales, tables)

    def coding_state(self) -> dict[str, Tensor]:
        """All integers that steer the coder, as tensors that a model file stores. Raises ModelError before `update`."""
        return self._ready().state()

    def load_coding_state(self, state: Mapping[str, Tensor]) -> None:
        """Take `coding_state`'s tensors instead of building them; the float networks get the values that they mean."""
        networks = self.exact_networks
        for name, network in networks.items():
            load_float_weights(network, state, name)
        self._coding = CodingTables.from_state(networks, state)

    def synthesis_state(self) -> dict[str, Tensor]:
        """The float weights that define pixels; with `coding_state`, what the fingerprint covers."""
        if self._ready().synthesis is not None:
            return {}
        state = self.state_dict()
        return {name: value for name, value in state.items() if name.startswith(self.decoder_names)}

    @property
    def kept_as_integers(self) -> set[str]:
        """Names of the float weights that `coding_state` tells."""
        names = {f"{name}.{key}" for name, network in self.exact_networks.items() for key in network.state_dict()}
        if self._ready().synthesis is not None:
            names |= {name for name in self.state_dict() if name.startswith(self.decoder_names)}
        return names

    def _load_from_state_dict(self, *args: Any) -> None:
        self._coding = None  # it belongs to the weights that are replaced: `update` makes it anew
        super()._load_from_state_dict(*args)

    def _ready(self) -> CodingTables:
        if self._coding is None:
            raise ModelError(
                f"model {self.name} is not ready for coding: call update() once after training or loading weights"
            )
        return self._coding

    # The verbs.

    def analyze(self, x: Tensor, quality: float | Sequence[float] | None = None) -> Latents:
        """Pixels (B, 3, H, W) in [0, 1], any size from 1x1 -> unquantised latents.

        quality: one value, or one per picture, in `qualities`, taken to the nearest 1/64; for variable-rate codecs.
        Pixels of another floating-point dtype become float32. The weights must be float32; autocast is welcome, under
        which all but the last layer runs in its dtype.

        Raises ValueError for a wrong shape, dtype or quality, or pixels on the CPU that are far outside of [0, 1];
        ModelError if the weights are not float32.
        """
        check_pixels(x)
        check_float32(self)
        x = x.float()
        size = (int(x.shape[2]), int(x.shape[3]))
        qualities = self._qualities(quality, x.shape[0])
        with for_pixels(x[:, 0].numel()):
            levels = self.analysis(_pad(x, self.alignment), self._quality_tensor(qualities, x.device))
        return Latents(tuple(level.float() for level in levels), size, qualities)

    def quantize(self, latents: Latents, rounding: Rounding, *, exact: bool = False) -> Rated:
        """Unquantised latents -> what `rounding` makes of them, and what it costs; differentiable.

        exact: with the parameters that coding uses (after `update`), which follow `nearest` alone, without gradients;
        the outcome is what is coded. Otherwise with the float networks.
        """
        if not exact:
            quantized, bits = quantize(self, latents, rounding, exact=False)
        elif rounding is nearest:
            with torch.no_grad(), torch.autocast(latents.y.device.type, enabled=False):
                quantized, bits = quantize(self, latents, rounding, exact=self.exact)
        else:
            raise ValueError("`rounding` must be `nearest` with exact parameters, which are those of integers")
        sums = ([part.sum(tuple(range(1, part.ndim))) for part in level] for level in bits)
        return Rated(quantized, tuple(sum(level[1:], level[0]) for level in sums))

    def encode(self, latents: Latents, *, threads: int | None = None) -> list[Bitstream]:
        """Unquantised latents -> one Bitstream per picture of the batch.

        The bytes depend on the latents alone: not on threads, batch, SIMD level or ambient torch settings. Raises
        ValueError for latents that are not finite, not float32 or of a wrong shape, ModelError before `update`.
        """
        check_latents(latents)
        with self._for_coding(len(latents), latents.size):
            return encode(self, latents, threads)

    def decode(self, streams: Sequence[Bitstream], *, threads: int | None = None) -> Latents:
        """Bitstreams (pictures of one size) -> quantised latents with means and scales; no pixels are computed.

        Raises FormatError for damaged streams, MismatchError for another model's.
        """
        check_streams(streams)
        with self._for_coding(len(streams), streams[0].size):
            return decode(self, streams, threads)

    def as_coded(self, latents: Latents) -> Latents:
        """What `decode(encode(latents))` returns, without coding."""
        check_latents(latents)
        with self._for_coding(len(latents), latents.size):
            return as_coded(self, latents)

    def synthesize(self, latents: Latents) -> Tensor:
        """Quantised latents -> pixels (B, 3, H, W) in [0, 1] of the original size. Raises as `analyze` does.

        Where the codec has an integer synthesis (`calibrate`) these are its 8-bit pixels, divided by 255, the same on
        every machine; latents that require gradients go through the float network all the same.
        """
        check_latents(latents)
        check_float32(self)
        if self._coding is not None and self._coding.synthesis is not None and not latents.y.requires_grad:
            return self.synthesize_bytes(latents).float().div_(255)
        quality = self._quality_tensor(latents.quality, latents.y.device)
        height, width = latents.size
        with for_pixels(len(latents) * height * width):
            return self.synthesis(latents.levels, quality)[..., :height, :width].clamp(0, 1)

    @torch.no_grad()
    def synthesize_bytes(self, latents: Latents) -> Tensor:
        """Quantised latents -> uint8 pixels (B, 3, H, W): what `synthesize` returns, rounded to 8 bits."""
        synthesis = None if self._coding is None else self._coding.synthesis
        if synthesis is None:
            return self.synthesize(latents).mul(255).round_().to(torch.uint8)
        check_latents(latents)
        height, width = latents.size
        with for_pixels(len(latents) * height * width):
            return synthesis(latents.y, latents.quality)[..., :height, :width]

    def forward(
        self, x: Tensor, quality: float | Sequence[float] | None = None, rounding: Rounding | None = None
    ) -> CodecOutput:
        """Pixels -> reconstruction and bits; in training by mixed quantisation and unclamped, else as it is coded."""
        latents = self.analyze(x, quality)
        rated = self.quantize(latents, rounding or (mixed if self.training else nearest))
        if self.training:
            height, width = latents.size
            x_hat = self.synthesis(rated.latents.levels, self._quality_tensor(latents.quality, x.device))
            return CodecOutput(x_hat[..., :height, :width], rated.bits, rated.latents)
        return CodecOutput(self.synthesize(rated.latents), rated.bits, rated.latents)

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

    @torch.no_grad()
    def decompress_bytes(self, streams: Sequence[Bitstream], *, threads: int | None = None) -> Tensor:
        """Bitstreams (pictures of one size) -> uint8 pixels (B, 3, H, W): those of `decompress`, rounded to 8 bits."""
        with torch.autocast(self.device.type, enabled=False):
            return self.synthesize_bytes(self.decode(streams, threads=threads))

    # Small things shared by the above.

    def _for_coding(self, pictures: int, size: tuple[int, int]) -> AbstractContextManager[None]:
        """The threads of a walk. Without exact networks its result may depend on them: nothing may choose them then."""
        return for_pixels(pictures * size[0] * size[1]) if self.exact else nullcontext()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def fingerprint(self) -> bytes:
        """SHA-256 over everything that decoding uses: tables, exact networks, synthesis weights as float32."""
        weights, coding = self.synthesis_state(), self._ready()
        versions = tuple((value.data_ptr(), value._version) for value in weights.values())
        known = self._fingerprint
        if known is not None and known[0] is coding and known[1] == versions:
            return known[2]
        self._fingerprint = (coding, versions, self._digest(weights))
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
