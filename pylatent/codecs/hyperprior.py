"""Hyperprior codecs of two levels, y and z, with CompressAI's architectures and parameter names.

`MeanScaleHyperprior` is Minnen et al. 2018 (arXiv 1809.02736) without context model (CompressAI: mbt2018-mean),
`ScaleHyperprior` is Ballé et al. 2018 (arXiv 1802.01436; CompressAI: bmshj2018-hyperprior). Either can be made
variable-rate by a gain vector per quality on y (Cui et al. 2021, arXiv 2003.02012), undone before the synthesis:

    x ─ g_a ─ ×gain ─► y ─────────── round(y - mu) + mu ─► y_hat ─ ×inverse_gain ─ g_s ─► x_hat
                       └─ h_a ─► z ─ round ─► z_hat ─ h_s ─► mu, sigma
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor, nn

from pylatent.codecs.base import Codec, ExactParameters, not_ready
from pylatent.codecs.exact import load_float_weights
from pylatent.codecs.hyperprior_coding import HyperpriorCoding
from pylatent.codecs.latents import LevelParameters
from pylatent.codecs.tiling import run_tiled
from pylatent.coding.tables import CdfTables
from pylatent.entropy.factorized import FactorizedPrior
from pylatent.entropy.gaussian import default_scales, gaussian_bits
from pylatent.layers.deconv import FewOutputsDeconv
from pylatent.layers.gdn import GDN

_PIXEL_TILE, _PIXEL_HALO = 1024, 32  # four 5x5 stride-2 convolutions reach 30 pixels
_LATENT_TILE, _LATENT_HALO = 64, 2
_HYPER_HALO = 8  # 3x3, then two 5x5 stride-2 convolutions, reach 7 latents
_HYPER_LATENT_TILE, _HYPER_LATENT_HALO = 32, 2


def conv(inputs: int, outputs: int, kernel: int = 5, stride: int = 2) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)


def deconv(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1)


class Hyperprior(Codec):
    """What both hyperpriors share. N: channels of the transforms and of z; M: channels of y.

    gains: number of qualities of the variable-rate form (quality 1 to `gains`, fractions between), or 0.
    """

    num_levels = 2
    alignment = 16
    h_a: nn.Sequential
    h_s: nn.Sequential

    def __init__(self, N: int, M: int, *, gains: int = 0) -> None:
        super().__init__()
        self.N, self.M = N, M
        self.g_a = nn.Sequential(conv(3, N), GDN(N), conv(N, N), GDN(N), conv(N, N), GDN(N), conv(N, M))
        self.g_s = nn.Sequential(
            deconv(M, N),
            GDN(N, inverse=True),
            deconv(N, N),
            GDN(N, inverse=True),
            deconv(N, N),
            GDN(N, inverse=True),
            FewOutputsDeconv(N, 3),
        )
        self.entropy_bottleneck = FactorizedPrior(N)
        self.gain = nn.Parameter(torch.ones(gains, M)) if gains else None
        self.inverse_gain = nn.Parameter(torch.ones(gains, M)) if gains else None
        self._coding: HyperpriorCoding | None = None

    def _hyper_input(self, y: Tensor) -> Tensor:
        """What h_a sees of y."""
        return y

    @abstractmethod
    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Output of h_s -> (scale, mean)."""

    @property
    def qualities(self) -> tuple[float, float] | None:
        return None if self.gain is None else (1.0, float(self.gain.shape[0]))

    @property
    def default_quality(self) -> float | None:
        return None if self.gain is None else min(4.0, float(self.gain.shape[0]))

    def level_shapes(self, size: tuple[int, int]) -> tuple[tuple[int, int, int], ...]:
        height, width = -(-size[0] // 16), -(-size[1] // 16)
        return (self.M, height, width), (self.N, -(-height // 4), -(-width // 4))

    def analysis(self, x: Tensor, quality: Tensor | None) -> tuple[Tensor, ...]:
        y = run_tiled(self._g_a, x, tile=_PIXEL_TILE, halo=_PIXEL_HALO, scale=Fraction(1, 16))
        if quality is not None:
            y = y * self._gain(self.gain, quality)
        z = run_tiled(self.h_a, self._hyper_input(y), tile=_LATENT_TILE * 4, halo=_HYPER_HALO, scale=Fraction(1, 4))
        return y, z

    def synthesis(self, y_hat: Tensor, quality: Tensor | None) -> Tensor:
        if quality is not None:
            y_hat = y_hat * self._gain(self.inverse_gain, quality)
        return run_tiled(self._g_s, y_hat, tile=_LATENT_TILE, halo=_LATENT_HALO, scale=Fraction(16))

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
        if level == 1:
            return LevelParameters(self.entropy_bottleneck.medians.view(-1, 1, 1))
        z_hat = hats[1]
        assert z_hat is not None
        _, height, width = self.level_shapes(size)[0]
        scale, mean = self._split(self.h_s(z_hat)[..., :height, :width])
        return LevelParameters(mean, scale)

    def bits_of(self, level: int, residual: Tensor, parameters: LevelParameters) -> Tensor:
        if level == 1:
            return self.entropy_bottleneck.bits(residual)
        assert parameters.scale is not None
        return gaussian_bits(residual, parameters.scale)

    # Coding.

    def _ready(self) -> HyperpriorCoding:
        if self._coding is None:
            raise not_ready(self)
        return self._coding

    def tables_of(self, level: int) -> CdfTables:
        coding = self._ready()
        return coding.tables_z if level == 1 else coding.tables_y

    def scales_of(self, level: int) -> Tensor | None:
        return None if level == 1 else default_scales()

    def exact_parameters_of(
        self, level: int, grids: Sequence[Tensor | None], size: tuple[int, int], device: torch.device
    ) -> ExactParameters:
        coding = self._ready()
        if level == 1:
            channels = torch.arange(self.N, dtype=torch.uint8).view(-1, 1, 1)
            return ExactParameters(coding.medians.view(-1, 1, 1).to(device), channels, computed=False)
        grid = grids[1]
        assert grid is not None
        _, height, width = self.level_shapes(size)[0]

        def parameters(tile: Tensor) -> Tensor:
            scale, mean = self._split(coding.network(tile))
            indexes = torch.searchsorted(coding.thresholds.to(scale.device), scale.contiguous())
            return torch.cat((indexes.float(), mean.float()), 1)

        both = run_tiled(parameters, grid, tile=_HYPER_LATENT_TILE, halo=_HYPER_LATENT_HALO, scale=Fraction(4))
        indexes, mean = both[..., :height, :width].chunk(2, 1)
        return ExactParameters(mean, indexes.to(torch.uint8), computed=True)

    def update(self, tables: tuple[CdfTables, CdfTables] | None = None) -> None:
        """Build tables and exact networks; `tables` (y's, z's) of an imported model are taken as they are."""
        self._coding = HyperpriorCoding.build(self.h_s, self.entropy_bottleneck, tables)

    def coding_state(self) -> dict[str, Tensor]:
        return self._ready().state()

    def load_coding_state(self, state: dict[str, Tensor]) -> None:
        load_float_weights(self.h_s, state, "h_s")
        self._coding = HyperpriorCoding.from_state(self.h_s, state)

    def synthesis_state(self) -> dict[str, Tensor]:
        state = {f"g_s.{name}": value for name, value in self.g_s.state_dict().items()}
        if self.inverse_gain is not None:
            state["inverse_gain"] = self.inverse_gain.detach()
        return state


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

    def _hyper_input(self, y: Tensor) -> Tensor:
        return torch.abs(y)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return parameters, torch.zeros_like(parameters)
