"""The nested codec: a chain of L levels, after "Generalized Nested Latent Variable Models" (arXiv 2406.06165).

    z_L ─► z_(L-1) ─► … ─► z_1 = y ─► x        each level Gaussian given its parent alone, z_L under a fixed logistic

Every level halves the sides of the one before it; a step is h_a: 3x3, LeakyReLU, 5x5 of stride 2, and h_s its mirror.
What is known of the paper leaves open strides, kernels and whether means are predicted: they are our choice. Levels are
coded one after the other, each in one pass, so that a level more costs little, and there is no loop over positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pylatent.codecs.chain import Chain, Link, gain_parameter
from pylatent.codecs.exact import ACTIVATION_BITS
from pylatent.codecs.tiling import reach
from pylatent.codecs.transforms import analysis_transform, conv, deconv, synthesis_transform
from pylatent.coding.container import MAX_SECTIONS
from pylatent.entropy.factorized import FactorizedPrior
from pylatent.entropy.logistic import LogisticPrior
from pylatent.errors import ModelError

PriorName = Literal["logistic", "factorized"]


class NestedCodec(Chain):
    """L levels, the deepest at 1 / (16 · 2^(L-1)) of the picture's sides.

    levels: L, from 2. channels: of most convolutions; latent_channels: of y and, with common_dim, of every level.
    prior: of the deepest level, a fixed logistic or a learned factorized density. common_dim: False halves the channels
    from each level to the next (150, 75, 38, …). predict_mean: False leaves every level but the deepest around 0.
    gains: number of qualities of the variable-rate form, or 0. logistic_scale, bin_width: s and delta of the logistic;
    the latent of the deepest level counts in bins.

    Raises ValueError for arguments out of range: bin_width must be a multiple of 1/256 up to 16, so that the deepest
    level's values stay exact integers over 2^8.
    """

    def __init__(
        self,
        levels: int = 4,
        *,
        channels: int = 70,
        latent_channels: int = 150,
        prior: PriorName = "logistic",
        common_dim: bool = True,
        predict_mean: bool = True,
        gains: int = 0,
        logistic_scale: float = 1.0,
        bin_width: float = 1.0,
    ) -> None:
        if not 2 <= levels <= MAX_SECTIONS:
            raise ValueError(f"`levels` must be from 2 to {MAX_SECTIONS}, got {levels}")
        widths = [latent_channels if common_dim else -(-latent_channels // 2**level) for level in range(levels)]
        outputs = 2 if predict_mean else 1
        self._assemble(
            analysis_transform(channels, latent_channels),
            synthesis_transform(channels, latent_channels),
            [
                nn.Sequential(conv(width, channels, 3, 1), nn.LeakyReLU(), conv(channels, deeper))
                for width, deeper in pairwise(widths)
            ],
            [
                nn.Sequential(deconv(deeper, channels), nn.LeakyReLU(), conv(channels, outputs * width, 3, 1))
                for width, deeper in pairwise(widths)
            ],
            _prior(prior, widths[-1], logistic_scale, bin_width),
            gain_parameter(gains, latent_channels),
            gain_parameter(gains, latent_channels),
            predict_mean,
        )
        self._config: dict[str, Any] | None = {
            "levels": levels,
            "channels": channels,
            "latent_channels": latent_channels,
            "prior": prior,
            "common_dim": common_dim,
            "predict_mean": predict_mean,
            "gains": gains,
            "logistic_scale": logistic_scale,
            "bin_width": bin_width,
        }

    @classmethod
    def from_modules(
        cls,
        g_a: nn.Sequential,
        g_s: nn.Sequential,
        h_a: Sequence[nn.Sequential],
        h_s: Sequence[nn.Sequential],
        prior: FactorizedPrior | LogisticPrior,
        *,
        gain: nn.Parameter | None = None,
        inverse_gain: nn.Parameter | None = None,
        predict_mean: bool = True,
    ) -> NestedCodec:
        """A chain of given modules, which it shares; h_a and h_s of each level, the shallowest first.

        Convolutions, transposed convolutions and pointwise layers, of any strides that h_a and h_s agree on; g_a must
        shrink the sides by 16 and g_s undo it. Such a codec codes, but a model file cannot describe it (ModelError).
        Raises ValueError if the modules do not fit each other.
        """
        codec = cls.__new__(cls)
        codec._assemble(g_a, g_s, h_a, h_s, prior, gain, inverse_gain, predict_mean)
        codec._config = None
        return codec

    def _assemble(
        self,
        g_a: nn.Sequential,
        g_s: nn.Sequential,
        h_a: Sequence[nn.Sequential],
        h_s: Sequence[nn.Sequential],
        prior: FactorizedPrior | LogisticPrior,
        gain: nn.Parameter | None,
        inverse_gain: nn.Parameter | None,
        predict_mean: bool,
    ) -> None:
        _check_modules(g_a, g_s, h_a, h_s, prior, predict_mean)
        super().__init__()
        self.num_levels = len(h_a) + 1
        self.predict_mean = predict_mean
        self.g_a, self.g_s = g_a, g_s
        self.h_a, self.h_s = nn.ModuleList(h_a), nn.ModuleList(h_s)
        self.deepest = prior
        self.gain, self.inverse_gain = gain, inverse_gain

    @property
    def config(self) -> dict[str, Any]:
        if self._config is None:
            raise ModelError("a codec made by `from_modules` cannot be stored: its architecture has no description")
        return self._config

    @property
    def prior(self) -> FactorizedPrior | LogisticPrior:
        return self.deepest

    @property
    def links(self) -> tuple[Link, ...]:
        pairs = zip(self.h_a, self.h_s, strict=True)
        return tuple(Link(h_a, h_s, f"h_s.{level}") for level, (h_a, h_s) in enumerate(pairs))  # type: ignore[arg-type]

    @property
    def channels_of(self) -> tuple[int, ...]:
        return tuple(_outputs(network) for network in (self.g_a, *self.h_a))  # type: ignore[arg-type]

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        if not self.predict_mean:
            return parameters, torch.zeros_like(parameters)
        scale, mean = parameters.chunk(2, 1)
        return scale, mean

    def coding_state(self) -> dict[str, Tensor]:
        width = torch.tensor([round(self.prior.bin_width * 2**ACTIVATION_BITS)], dtype=torch.int32)
        return super().coding_state() | {"bin_width": width}


def _prior(name: PriorName, channels: int, scale: float, bin_width: float) -> FactorizedPrior | LogisticPrior:
    if name == "logistic":
        return LogisticPrior(channels, scale=scale, bin_width=bin_width)
    if name != "factorized":
        raise ValueError(f'`prior` must be "logistic" or "factorized", got {name!r}')
    if (scale, bin_width) != (1, 1):
        raise ValueError("`logistic_scale` and `bin_width` are for the logistic prior: a factorized one learns its own")
    return FactorizedPrior(channels)


def _check_modules(
    g_a: nn.Sequential,
    g_s: nn.Sequential,
    h_a: Sequence[nn.Sequential],
    h_s: Sequence[nn.Sequential],
    prior: FactorizedPrior | LogisticPrior,
    predict_mean: bool,
) -> None:
    if not 1 <= len(h_a) == len(h_s):
        raise ValueError(f"`h_a` and `h_s` must hold one network a level, at least one, got {len(h_a)} and {len(h_s)}")
    units = prior.bin_width * 2**ACTIVATION_BITS
    if not (units == round(units) and prior.bin_width <= 16):
        raise ValueError(f"`bin_width` must be a multiple of 1/256 up to 16, got {prior.bin_width}")
    _check_factor("g_a", g_a, Fraction(1, 16))
    _check_factor("g_s", g_s, Fraction(16))
    widths = [_outputs(network) for network in (g_a, *h_a)]
    for level, (down, up) in enumerate(zip(h_a, h_s, strict=True)):
        _check_factor(f"h_s[{level}]", up, 1 / reach(down)[0])
        expected = widths[level] * (2 if predict_mean else 1)
        if _outputs(up) != expected:
            raise ValueError(f"`h_s[{level}]` must give {expected} channels, got {_outputs(up)}")
    if prior.channels != widths[-1]:
        raise ValueError(f"`prior` must have {widths[-1]} channels, like the deepest level, got {prior.channels}")


def _check_factor(name: str, network: nn.Sequential, factor: Fraction) -> None:
    """Raises ValueError unless the network's convolutions change the sides by `factor`."""
    found = reach(network)[0]
    if found != factor:
        raise ValueError(f"`{name}` must change the sides of a picture by {factor}, got {found}")


def _outputs(network: nn.Sequential) -> int:
    """Channels that a network gives: those of its last convolution."""
    return [m.out_channels for m in network if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)][-1]
