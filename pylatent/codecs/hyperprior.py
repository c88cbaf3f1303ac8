"""Hyperprior codecs: chains of two levels, y and z, with CompressAI's architectures and parameter names.

`MeanScaleHyperprior` is Minnen et al. 2018 (arXiv 1809.02736) without context model (CompressAI: mbt2018-mean),
`ScaleHyperprior` is Ballé et al. 2018 (arXiv 1802.01436; CompressAI: bmshj2018-hyperprior).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pylatent.codecs.chain import Chain, Link, gain_parameter
from pylatent.codecs.transforms import analysis_transform, conv, deconv, synthesis_transform
from pylatent.entropy.factorized import FactorizedPrior


class Hyperprior(Chain):
    """What both hyperpriors share. N: channels of the transforms and of z; M: channels of y.

    gains: number of qualities of the variable-rate form (quality 1 to `gains`, fractions between), or 0.
    """

    num_levels = 2
    h_a: nn.Sequential
    h_s: nn.Sequential

    def __init__(self, N: int, M: int, *, gains: int = 0) -> None:
        super().__init__()
        self.N, self.M = N, M
        self.g_a = analysis_transform(N, M)
        self.g_s = synthesis_transform(N, M)
        self.entropy_bottleneck = FactorizedPrior(N)
        self.gain = gain_parameter(gains, M)
        self.inverse_gain = gain_parameter(gains, M)

    @property
    def prior(self) -> FactorizedPrior:
        return self.entropy_bottleneck

    @property
    def links(self) -> tuple[Link, ...]:
        return (Link(self.h_a, self.h_s, "h_s"),)

    @property
    def channels_of(self) -> tuple[int, ...]:
        return self.M, self.N

    @property
    def config(self) -> dict[str, Any]:
        return {"N": self.N, "M": self.M, "gains": 0 if self.gain is None else len(self.gain)}


class MeanScaleHyperprior(Hyperprior):
    """Minnen et al. 2018 without context model: mean and scale of y from z. CompressAI: mbt2018-mean."""

    def __init__(self, N: int, M: int, *, gains: int = 0) -> None:
        super().__init__(N, M, gains=gains)
        self.h_a = nn.Sequential(conv(M, N, 3, 1), nn.LeakyReLU(), conv(N, N), nn.LeakyReLU(), conv(N, N))
        self.h_s = nn.Sequential(
            deconv(N, M), nn.LeakyReLU(), deconv(M, M * 3 // 2), nn.LeakyReLU(), conv(M * 3 // 2, M * 2, 3, 1)
        )

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        scale, mean = parameters.chunk(2, 1)
        return scale, mean


class ScaleHyperprior(Hyperprior):
    """Ballé et al. 2018: y has mean zero, its scale comes from z. CompressAI: bmshj2018-hyperprior."""

    def __init__(self, N: int, M: int, *, gains: int = 0) -> None:
        super().__init__(N, M, gains=gains)
        self.h_a = nn.Sequential(conv(M, N, 3, 1), nn.ReLU(), conv(N, N), nn.ReLU(), conv(N, N))
        self.h_s = nn.Sequential(deconv(N, N), nn.ReLU(), deconv(N, N), nn.ReLU(), conv(N, M, 3, 1), nn.ReLU())

    def _hyper_input(self, values: Tensor) -> Tensor:
        return torch.abs(values)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return parameters, torch.zeros_like(parameters)
