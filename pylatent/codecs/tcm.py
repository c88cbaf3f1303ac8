"""TCM: mixed transformers and CNNs, with channel slices (Liu et al., CVPR 2023, arXiv 2303.14978).

    x ─ g_a ─► y ─ h_a ─► z ─► h_mean_s, h_scale_s ─► mu, sigma of slice i of y, with slices 0 to i-1 as inputs
                                                      y_hat_i = round(y_i - mu_i) + mu_i + lrp_i,   |lrp_i| < 1/2

The names and shapes are those of the published state dicts; N = 64 is the TCM-Small of the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from pylatent.codecs.base import Codec
from pylatent.codecs.exact import ACTIVATION_BITS
from pylatent.codecs.latents import Parameters
from pylatent.codecs.steps import Part, Shape, Step
from pylatent.codecs.walk import Done
from pylatent.entropy.factorized import FactorizedPrior
from pylatent.layers.resampling import DownBlock, UpBlock, shuffled_conv
from pylatent.layers.windows import MixedBlock, WindowGate

_WINDOW, _HYPER_WINDOW = 8, 4
_HEADS = (8, 16, 32)  # channels of a head at 1/2, 1/4 and 1/8 of the sides
_HYPER_HEAD = 32
_GATE_INNER, _GATE_HEAD = 128, 16
_HIDDEN = (224, 128)


class TCM(Codec):
    """Two levels, y in `slices` steps; alignment 128, a fixed rate.

    N: channels of each half of a mixed block, a multiple of 32. M: of y, a multiple of `slices`. Z: of z.
    attention: as published, with window attention in the parameter networks, which has no exact form: files say so, and
    may be refused on another machine. Without it these networks are convolutions and LeakyReLUs, which are made exact.

    Raises ValueError for channels that do not divide.
    """

    num_levels, alignment = 2, 128

    def __init__(self, N: int = 64, M: int = 320, *, Z: int = 192, slices: int = 5, attention: bool = True) -> None:
        if N % _HYPER_HEAD:
            raise ValueError(f"`N` must be a multiple of {_HYPER_HEAD}, got {N}")
        if M % slices:
            raise ValueError(f"`M` must be a multiple of slices = {slices}, got {M}")
        super().__init__()
        self.M, self.Z, self.slices, self.exact = M, Z, slices, not attention
        self._config = {"N": N, "M": M, "Z": Z, "slices": slices, "attention": attention}
        width = M // slices
        self.g_a = nn.Sequential(
            DownBlock(3, 2 * N),
            *_mixed(N, _HEADS[0], _WINDOW),
            DownBlock(2 * N, 2 * N),
            *_mixed(N, _HEADS[1], _WINDOW),
            DownBlock(2 * N, 2 * N),
            *_mixed(N, _HEADS[2], _WINDOW),
            nn.Conv2d(2 * N, M, 3, 2, padding=1),
        )
        self.g_s = nn.Sequential(
            UpBlock(M, 2 * N),
            *_mixed(N, _HEADS[2], _WINDOW),
            UpBlock(2 * N, 2 * N),
            *_mixed(N, _HEADS[1], _WINDOW),
            UpBlock(2 * N, 2 * N),
            *_mixed(N, _HEADS[0], _WINDOW),
            shuffled_conv(2 * N, 3),
        )
        self.h_a = nn.Sequential(
            DownBlock(M, 2 * N), *_mixed(N, _HYPER_HEAD, _HYPER_WINDOW), nn.Conv2d(2 * N, Z, 3, 2, padding=1)
        )
        hyper = _hyper_attention if attention else _hyper_convolutions
        self.h_mean_s, self.h_scale_s = hyper(Z, N, M), hyper(Z, N, M)
        inputs = [M + width * number for number in range(slices + 1)]
        if attention:
            self.atten_mean = nn.ModuleList(_gate(count) for count in inputs[:-1])
            self.atten_scale = nn.ModuleList(_gate(count) for count in inputs[:-1])
        activation = nn.GELU if attention else nn.LeakyReLU
        self.cc_mean_transforms = nn.ModuleList(_slice_network(count, width, activation) for count in inputs[:-1])
        self.cc_scale_transforms = nn.ModuleList(_slice_network(count, width, activation) for count in inputs[:-1])
        self.lrp_transforms = nn.ModuleList(_slice_network(count, width, activation) for count in inputs[1:])
        self.entropy_bottleneck = FactorizedPrior(Z)

    @property
    def config(self) -> dict[str, Any]:
        return self._config

    @property
    def prior(self) -> FactorizedPrior:
        return self.entropy_bottleneck

    def level_shapes(self, size: tuple[int, int]) -> tuple[Shape, ...]:
        rows, columns = (-(-side // self.alignment) for side in size)
        return (self.M, 8 * rows, 8 * columns), (self.Z, 2 * rows, 2 * columns)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        width = self.M // self.slices
        return Step(1), *(Step(0, (Part(at, at + width),)) for at in range(0, self.M, width))

    def analysis(self, x: Tensor, quality: Tensor | None) -> tuple[Tensor, ...]:
        features = self.g_a[:-1](x)
        with torch.autocast(x.device.type, enabled=False):  # latents need more digits than bf16 has
            y = self.g_a[-1](features.float())
        return y, self.h_a(y)

    def synthesis(self, levels: Sequence[Tensor], quality: Tensor | None) -> Tensor:
        return self.g_s(levels[0])

    # The slices.

    def parameters_of(self, step: Step, done: Done) -> Parameters:
        if step.level == 1:
            return self.prior_parameters(done)
        start, number = self._place(step)
        if number == 0:
            z_hat = done.level(1)
            done.kept |= {name: self._network(f"h_{name}_s", done)(z_hat) for name in _PARAMETERS}
        before = done.level(0)[:, :start]
        supports = [torch.cat([done.kept[name], before], 1) for name in _PARAMETERS]
        if not self.exact:
            supports = [getattr(self, f"atten_{n}")[number](s) for n, s in zip(_PARAMETERS, supports, strict=True)]
        done.kept["support"] = supports[0]
        mean, scale = (
            self._network(f"cc_{name}_transforms.{number}", done)(support)
            for name, support in zip(_PARAMETERS, supports, strict=True)
        )
        return self.gaussian(mean, scale, done)

    def correction_of(self, step: Step, done: Done) -> Tensor | None:  # type: ignore[override]
        """Latent residual prediction."""
        if step.level == 1:
            return None
        start, number = self._place(step)
        values = done.level(0)[:, start : start + self.M // self.slices]
        correction = self._network(f"lrp_transforms.{number}", done)(torch.cat([done.kept["support"], values], 1))
        if not self.exact:
            return 0.5 * torch.tanh(correction)
        half = 2.0 ** (ACTIVATION_BITS - 1) if done.exact else 0.5
        return correction.clamp(-half, half)

    def _place(self, step: Step) -> tuple[int, int]:
        """A slice's first channel, and its number."""
        return step.parts[0].start, step.parts[0].start * self.slices // self.M

    def _network(self, name: str, done: Done) -> Callable[..., Tensor]:
        return self.network(name, done) if self.exact else self.get_submodule(name)

    @property
    def exact_networks(self) -> Mapping[str, nn.Sequential]:
        if not self.exact:
            return {}
        names = [f"h_{name}_s" for name in _PARAMETERS]
        for kind in ("cc_mean", "cc_scale", "lrp"):
            names += [f"{kind}_transforms.{number}" for number in range(self.slices)]
        return {name: cast(nn.Sequential, self.get_submodule(name)) for name in names}


_PARAMETERS = ("mean", "scale")


def _mixed(channels: int, head: int, window: int) -> list[MixedBlock]:
    return [MixedBlock(channels, head, window, shifted=shifted) for shifted in (False, True)]


def _gate(channels: int) -> nn.Sequential:
    return nn.Sequential(WindowGate(channels, _GATE_INNER, _GATE_HEAD, _WINDOW))


def _slice_network(inputs: int, outputs: int, activation: type[nn.Module]) -> nn.Sequential:
    first, second = _HIDDEN
    return nn.Sequential(
        nn.Conv2d(inputs, first, 3, padding=1),
        activation(),
        nn.Conv2d(first, second, 3, padding=1),
        activation(),
        nn.Conv2d(second, outputs, 3, padding=1),
    )


def _hyper_attention(Z: int, N: int, M: int) -> nn.Sequential:
    return nn.Sequential(UpBlock(Z, 2 * N), *_mixed(N, _HYPER_HEAD, _HYPER_WINDOW), shuffled_conv(2 * N, M))


def _hyper_convolutions(Z: int, N: int, M: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(Z, 2 * N, 3, 2, padding=1, output_padding=1),
        nn.LeakyReLU(),
        nn.ConvTranspose2d(2 * N, 2 * N, 3, 2, padding=1, output_padding=1),
        nn.LeakyReLU(),
        nn.Conv2d(2 * N, M, 3, padding=1),
    )
