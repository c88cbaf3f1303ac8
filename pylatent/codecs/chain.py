"""A Markov chain of levels z_L → … → z_1 = y → x, each coded with what its only parent predicts.

    x ─ g_a ─ ×gain ─► y ─────── round(y - mu) + mu ─► y_hat ─ ×inverse_gain ─ g_s ─► x_hat
                       └─ h_a ─► z_2 ── h_s ─► mu, sigma of y;   z_2 likewise from z_3, … the last from a prior

Two levels make a hyperprior (codecs/hyperprior.py), any number the nested codec (codecs/nested.py). A gain vector per
quality on y (Cui et al. 2021, arXiv 2003.02012), undone before the synthesis, makes either variable-rate.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from pylatent.codecs.base import Codec, ExactParameters, not_ready
from pylatent.codecs.chain_coding import ChainCoding
from pylatent.codecs.exact import load_float_weights, table_indexes
from pylatent.codecs.latents import LevelParameters
from pylatent.codecs.tiling import reach, run_tiled
from pylatent.coding.tables import CdfTables
from pylatent.entropy.factorized import FactorizedPrior
from pylatent.entropy.gaussian import default_scales, gaussian_bits
from pylatent.entropy.logistic import LogisticPrior

_PIXEL_TILE = 1024
_LATENT_TILE = 64
_HYPER_TILE = 256
_HYPER_LATENT_TILE = 128  # in positions of the level that is predicted


@dataclass(frozen=True)
class Step:
    """From a level to its parent and back. name: of h_s, in the tensors that `coding_state` gives."""

    h_a: nn.Sequential
    h_s: nn.Sequential
    name: str


class Chain(Codec):
    """Base of codecs whose levels form a chain: modules g_a and g_s (a factor of 16), steps, and a deepest prior.

    gain, inverse_gain: (Q, M), for qualities 1 to Q and fractions between; None for a fixed rate. The deepest level
    counts in bins of the prior: its h_a's result is divided by their width, its h_s is given the product.
    """

    alignment = 16
    g_a: nn.Sequential
    g_s: nn.Sequential
    gain: nn.Parameter | None
    inverse_gain: nn.Parameter | None
    _coding: ChainCoding | None = None

    # What differs between chains.

    @property
    @abstractmethod
    def prior(self) -> FactorizedPrior | LogisticPrior:
        """The density of the deepest level."""

    @property
    @abstractmethod
    def steps(self) -> tuple[Step, ...]:
        """From each level but the deepest to its parent, the shallowest first."""

    @property
    @abstractmethod
    def channels_of(self) -> tuple[int, ...]:
        """Channels of each level, the shallowest first."""

    @abstractmethod
    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Output of an h_s -> (scale, mean)."""

    def _hyper_input(self, values: Tensor) -> Tensor:
        """What h_a sees of a level."""
        return values

    # The chain.

    @property
    def qualities(self) -> tuple[float, float] | None:
        return None if self.gain is None else (1.0, float(self.gain.shape[0]))

    @property
    def default_quality(self) -> float | None:
        return None if self.gain is None else min(4.0, float(self.gain.shape[0]))

    def level_shapes(self, size: tuple[int, int]) -> tuple[tuple[int, int, int], ...]:
        height, width = -(-size[0] // self.alignment), -(-size[1] // self.alignment)
        shapes = [(self.channels_of[0], height, width)]
        for step, channels in zip(self.steps, self.channels_of[1:], strict=True):
            stride = int(reach(step.h_s)[0])
            height, width = -(-height // stride), -(-width // stride)
            shapes.append((channels, height, width))
        return tuple(shapes)

    def analysis(self, x: Tensor, quality: Tensor | None) -> tuple[Tensor, ...]:
        scale, halo = reach(self.g_a)
        y = run_tiled(self._g_a, x, tile=_PIXEL_TILE, halo=halo, scale=scale)
        if quality is not None:
            y = y * self._gain(self.gain, quality)
        return self.levels_above(y)

    def levels_above(self, y: Tensor) -> tuple[Tensor, ...]:
        """y (B, M, h, w), after any gain -> all unquantised levels, y first."""
        levels = [y]
        for step in self.steps:
            scale, halo = reach(step.h_a)
            levels.append(run_tiled(step.h_a, self._hyper_input(levels[-1]), tile=_HYPER_TILE, halo=halo, scale=scale))
        if self.prior.bin_width != 1:
            levels[-1] = levels[-1] / self.prior.bin_width
        return tuple(levels)

    def synthesis(self, y_hat: Tensor, quality: Tensor | None) -> Tensor:
        if quality is not None:
            y_hat = y_hat * self._gain(self.inverse_gain, quality)
        scale, halo = reach(self.g_s)
        return run_tiled(self._g_s, y_hat, tile=_LATENT_TILE, halo=halo, scale=scale)

    def _g_a(self, x: Tensor) -> Tensor:
        features = self.g_a[:-1](x)
        with torch.autocast(x.device.type, enabled=False):  # latents need more digits than bf16 has
            return self.g_a[-1](features.float())

    def _g_s(self, y_hat: Tensor) -> Tensor:
        with torch.autocast(y_hat.device.type, enabled=False):
            features = self.g_s[0](y_hat.float())
        return self.g_s[1:](features)

    @staticmethod
    def _gain(gains: Tensor | None, quality: Tensor) -> Tensor:
        """(B,) qualities -> (B, M, 1, 1): gains interpolated geometrically between integer qualities."""
        assert gains is not None
        logs = torch.log(gains.clamp_min(1e-6))
        below = (quality.floor() - 1).long().clamp(0, len(gains) - 1)
        above = (below + 1).clamp_max(len(gains) - 1)
        weight = (quality - 1 - below).unsqueeze(1)
        return torch.exp(logs[below] * (1 - weight) + logs[above] * weight)[:, :, None, None]

    def parameters_of(self, level: int, hats: Sequence[Tensor | None], size: tuple[int, int]) -> LevelParameters:
        if level == self.num_levels - 1:
            return LevelParameters(self.prior.medians.to(self.device).view(-1, 1, 1))
        _, height, width = self.level_shapes(size)[level]
        scale, mean = self._split(self.steps[level].h_s(self._parent(level, hats))[..., :height, :width])
        return LevelParameters(mean, scale)

    def _parent(self, level: int, values: Sequence[Tensor | None]) -> Tensor:
        """What h_s of a level is given: its parent's values (or integers), in units of h_a's result."""
        value = values[level + 1]
        assert value is not None
        width = self.prior.bin_width
        return value * width if level + 1 == self.num_levels - 1 and width != 1 else value

    def bits_of(self, level: int, residual: Tensor, parameters: LevelParameters) -> Tensor:
        if level == self.num_levels - 1:
            return self.prior.bits(residual)
        assert parameters.scale is not None
        return gaussian_bits(residual, parameters.scale)

    # Coding.

    def _ready(self) -> ChainCoding:
        if self._coding is None:
            raise not_ready(self)
        return self._coding

    def tables_of(self, level: int) -> CdfTables:
        coding = self._ready()
        return coding.tables_z if level == self.num_levels - 1 else coding.tables_y

    def scales_of(self, level: int) -> Tensor | None:
        return None if level == self.num_levels - 1 else default_scales()

    def exact_parameters_of(
        self, level: int, grids: Sequence[Tensor | None], size: tuple[int, int], device: torch.device
    ) -> ExactParameters:
        coding = self._ready()
        if level == self.num_levels - 1:
            tables = self.prior.table_of_channel.view(-1, 1, 1)
            return ExactParameters(coding.medians.view(-1, 1, 1).to(device), tables, computed=False)
        step, grid = self.steps[level], self._parent(level, grids)
        scale, halo = reach(step.h_s)
        tile = int(_HYPER_LATENT_TILE / scale)
        _, height, width = self.level_shapes(size)[level]
        needed = (height, width) if max(grid.shape[-2:]) <= tile else None  # of a picture of one tile
        network = partial(coding.networks[step.name], size=needed, dtype=torch.float32)
        both = run_tiled(network, grid, tile=tile, halo=halo, scale=scale)
        scales, mean = self._split(both[..., :height, :width])
        return ExactParameters(mean, table_indexes(scales, coding.thresholds), computed=True)

    @property
    def _h_s(self) -> dict[str, nn.Sequential]:
        return {step.name: step.h_s for step in self.steps}

    def fit_prior(self) -> None:
        """Solve for medians and tails of a learned deepest prior, before `update`; a fixed one needs nothing."""
        if isinstance(self.prior, FactorizedPrior):
            self.prior.fit_quantiles()

    def update(self, tables: tuple[CdfTables, CdfTables] | None = None) -> None:
        """Build tables and exact networks; `tables` (y's, z's) of an imported model are taken as they are."""
        self._coding = ChainCoding.build(self._h_s, self.prior, tables)

    def coding_state(self) -> dict[str, Tensor]:
        return self._ready().state()

    def load_coding_state(self, state: dict[str, Tensor]) -> None:
        for name, network in self._h_s.items():
            load_float_weights(network, state, name)
        self._coding = ChainCoding.from_state(self._h_s, state)

    def synthesis_state(self) -> dict[str, Tensor]:
        state = {f"g_s.{name}": value for name, value in self.g_s.state_dict().items()}
        if self.inverse_gain is not None:
            state["inverse_gain"] = self.inverse_gain.detach()
        return state


def gain_parameter(gains: int, M: int) -> nn.Parameter | None:
    """Gains of 1 for `gains` qualities, (gains, M); None for 0 of them."""
    return nn.Parameter(torch.ones(gains, M)) if gains else None
