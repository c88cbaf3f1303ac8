"""ResidualHyperprior: y and z as in a mean-scale hyperprior, transforms made for CPUs and for integers.

Nothing above a quarter of the resolution, no GDN: plain 3x3 and 1x1 convolutions, LeakyReLU, residual blocks with
clipped results, pixel (un)shuffles. With the default widths, 29 k products a pixel in the analysis and 23 k in the
synthesis, 2 and 4 k in the hyper-networks, which are convolutions and LeakyReLU as exact networks must be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.codecs.chain import Chain, Link
from pylatent.codecs.definition import CODING
from pylatent.codecs.tiling import reach
from pylatent.entropy.factorized import FactorizedPrior
from pylatent.errors import ModelError
from pylatent.layers.residual import ClippedResidualBlock

ANALYSIS_LIMITS = (4, 6, 16)
SYNTHESIS_LIMITS = (24, 16, 4)
_GAIN_EXPONENT = 0.4  # of lambda: near what trained gains follow


class ResidualHyperprior(Chain):
    """A chain of two levels; alignment 16.

    widths: channels at 1/4, 1/8 and 1/16 of the picture's sides. M, N: channels of y and z. hyper: of the layers of
    the hyper-networks, and of the one before h_s's last. analysis_limits, synthesis_limits: what the results of
    residual blocks are clipped to, resolution by resolution in the order of computation; None for no clip. lambdas: the
    weight of 255² MSE at each integer quality: as many qualities, and the gains' start; none for a fixed rate.

    Raises ValueError unless widths and limits are three each.
    """

    num_levels = 2
    pixel_tile = 2048  # the halo is 160 pixels, the widest activations have a quarter of the resolution

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 192),
        *,
        M: int = 256,
        N: int = 128,
        hyper: tuple[int, int] = (160, 192),
        analysis_limits: Sequence[float | None] = ANALYSIS_LIMITS,
        synthesis_limits: Sequence[float | None] = SYNTHESIS_LIMITS,
        lambdas: Sequence[float] = (),
    ) -> None:
        for name, values in (
            ("widths", widths),
            ("analysis_limits", analysis_limits),
            ("synthesis_limits", synthesis_limits),
        ):
            if len(values) != 3:
                raise ValueError(f"`{name}` must hold three numbers, one a resolution, got {len(values)}")
        super().__init__()
        self.N, self.M = N, M
        self.lambdas = tuple(float(value) for value in lambdas) or None
        self._config: dict[str, Any] = {
            "widths": list(widths),
            "M": M,
            "N": N,
            "hyper": list(hyper),
            "analysis_limits": list(analysis_limits),
            "synthesis_limits": list(synthesis_limits),
            "lambdas": list(lambdas),
        }
        self.g_a = _analysis(widths, M, analysis_limits)
        self.g_s = _synthesis(widths, M, synthesis_limits)
        first, second = hyper
        self.h_a = nn.Sequential(
            _conv(M, first), nn.LeakyReLU(), _conv(first, first, stride=2), nn.LeakyReLU(), _conv(first, N, stride=2)
        )
        self.h_s = nn.Sequential(
            _deconv(N, first), nn.LeakyReLU(), _deconv(first, second), nn.LeakyReLU(), _conv(second, 2 * M)
        )
        self.entropy_bottleneck = FactorizedPrior(N)
        self.gain = self.inverse_gain = None
        if lambdas:
            weights = torch.tensor(lambdas, dtype=torch.float32)
            gains = (weights / weights[len(weights) // 2]).pow(_GAIN_EXPONENT)[:, None].repeat(1, M)
            self.gain, self.inverse_gain = nn.Parameter(gains), nn.Parameter(1 / gains)

    @property
    def config(self) -> dict[str, Any]:
        return self._config

    @property
    def prior(self) -> FactorizedPrior:
        return self.entropy_bottleneck

    @property
    def links(self) -> tuple[Link, ...]:
        return (Link(self.h_a, self.h_s, "h_s"),)

    @property
    def channels_of(self) -> tuple[int, ...]:
        return self.M, self.N

    def _hyper_input(self, values: Tensor) -> Tensor:
        """y with its last row and column repeated up to a multiple of h_a's stride, as in every picture of a training.

        Channels of y have means far from 0: zeros where h_a has always seen values would move z out of its range.
        """
        stride = int(1 / reach(self.h_a)[0])
        bottom, right = -values.shape[2] % stride, -values.shape[3] % stride
        return F.pad(values, (0, right, 0, bottom), mode="replicate") if bottom or right else values

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        scale, mean = parameters.chunk(2, 1)
        return scale, mean


def residual_from_state_dict(
    parameters: Mapping[str, Tensor],
    lambdas: Sequence[float],
    *,
    analysis_limits: Sequence[float | None] = ANALYSIS_LIMITS,
    synthesis_limits: Sequence[float | None] = SYNTHESIS_LIMITS,
) -> ResidualHyperprior:
    """The codec that a state dict with this module's names describes; widths are read off the weights.

    lambdas: one for each row of `gain`; limits: as in ResidualHyperprior, which weights do not tell. Raises ModelError
    if the weights do not fit.
    """

    def outputs(name: str) -> int:
        return parameters[name + ".weight"].shape[0]

    try:
        widths = [outputs(f"g_a.{number}") for number in (1, 3, 7)]
        M, N = outputs("g_a.10"), outputs("h_a.4")
        hyper = (outputs("h_a.0"), parameters["h_s.2.weight"].shape[1])
        qualities = len(parameters["gain"]) if "gain" in parameters else 0
    except KeyError as error:
        raise ModelError(f"the checkpoint is not a residual hyperprior: it has no {error}") from error
    if len(lambdas) != qualities:
        raise ModelError(f"the checkpoint has gains for {qualities} qualities, but {len(lambdas)} lambdas are given")
    codec = ResidualHyperprior(
        widths,
        M=M,
        N=N,
        hyper=hyper,
        analysis_limits=analysis_limits,
        synthesis_limits=synthesis_limits,
        lambdas=lambdas,
    )
    try:
        weights = {name: value.float() for name, value in parameters.items() if not name.startswith(CODING)}
        codec.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(f"the checkpoint does not fit ResidualHyperprior({widths}): {error}") from error
    return codec.eval()


def _analysis(widths: Sequence[int], M: int, limits: Sequence[float | None]) -> nn.Sequential:
    """(B, 3, 16 h, 16 w) -> (B, M, h, w)."""
    a, b, c = widths
    last = _conv(c, M)
    with torch.no_grad():
        last.weight.mul_(8.0)  # so that some symbols are not 0 when the training starts
    return nn.Sequential(
        nn.PixelUnshuffle(4),
        _conv(48, a),
        *_blocks(a, 1, limits[0]),
        _conv(a, b, stride=2),
        *_blocks(b, 3, limits[1]),
        _conv(b, c, stride=2),
        *_blocks(c, 2, limits[2]),
        last,
    )


def _synthesis(widths: Sequence[int], M: int, limits: Sequence[float | None]) -> nn.Sequential:
    """(B, M, h, w) -> (B, 3, 16 h, 16 w)."""
    a, b, c = widths
    first, last = _conv(M, c), _conv(a, 48)
    with torch.no_grad():
        first.weight.mul_(0.25)
        assert last.bias is not None
        last.bias.fill_(0.5)  # grey
    return nn.Sequential(
        first,
        *_blocks(c, 2, limits[0]),
        _conv(c, 4 * b, 1),
        nn.PixelShuffle(2),
        *_blocks(b, 2, limits[1]),
        _conv(b, 4 * a, 1),
        nn.PixelShuffle(2),
        *_blocks(a, 1, limits[2]),
        last,
        nn.PixelShuffle(4),
    )


def _blocks(channels: int, count: int, limit: float | None) -> list[ClippedResidualBlock]:
    return [ClippedResidualBlock(channels, limit) for _ in range(count)]


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)


def _deconv(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
