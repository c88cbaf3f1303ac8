"""TinyLIC: convolutions with residual neighbourhood attention, and a context over channels and space (Lu et al. 2022,
arXiv 2204.11448; variable-rate: Zhang et al. 2025, arXiv 2507.01608).

    x ─ g_a ─► y ─ h_a ─► z ─► h_s ─► hyper;   cc = cc_i(hyper, slices 0 to i-1)   of slice i of y
                              sigma, mu = parameters_i(hyper, sc_i(what is done of slice i), cc)

The slices are of 24, 69, 104 and 123 of 320 channels, and coded in 4, 2, 2 and 1 stages. A stage's parameters are
computed at its own positions alone. Weights and numbers are those of the published code. Its attention steers the
coder, so files say that they are not exact, and may be refused on another machine. Where a map is smaller than the
window, the window is the map: the published code takes pictures of 192 pixels a side or more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.codecs.base import Codec
from pylatent.codecs.chain import gain_parameter
from pylatent.codecs.latents import Parameters
from pylatent.codecs.steps import Part, Shape, Step, checkerboard
from pylatent.codecs.transforms import conv
from pylatent.codecs.walk import Done
from pylatent.entropy.factorized import FactorizedPrior
from pylatent.layers.neighbourhood import NeighbourhoodBlock, of_quality

_HEAD, _KERNEL, _HYPER_KERNEL, _MLP_RATIO = 16, 7, 3, 2
_DEPTHS, _HYPER_DEPTH = (2, 2, 6, 2), 2
# By slice: the kernel and the taps of the convolution over what is done before each stage, None for the first.
_SPATIAL: tuple[tuple[tuple[int, str] | None, ...], ...] = (
    (None, (3, "corners"), (5, "odd"), (5, "odd rows and columns")),
    (None, (5, "odd")),
    (None, (5, "odd")),
    (None,),
)


class TinyLIC(Codec):
    """Two levels, y in 9 steps; alignment 64.

    N: a multiple of 32; M: channels of y, a multiple of 16. gains: number of qualities of the variable-rate form
    (quality 1 to `gains`, fractions between), which has gains before and after both levels and in every block; or 0.

    Raises ValueError for channels that heads of 16 do not divide.
    """

    num_levels, alignment, exact = 2, 64, False
    decoder_names = ("g_s.", "inverse_gain")

    def __init__(self, N: int = 128, M: int = 320, *, gains: int = 0) -> None:
        for name, value, factor in (("N", N, 2 * _HEAD), ("M", M, _HEAD)):
            if value <= 0 or value % factor:
                raise ValueError(f"`{name}` must be a multiple of {factor}, got {value}")
        super().__init__()
        self.M, self.Z = M, N * 3 // 2
        self._config = {"N": N, "M": M, "gains": gains}
        levels, widths = gains or None, (N, N * 3 // 2, 2 * N, M)
        g_a: list[nn.Module] = []
        for width, before, depth in zip(widths, (3, *widths), _DEPTHS, strict=False):
            g_a += [conv(before, width, 5 if before == 3 else 3), ResidualNeighbourhood(width, depth, _KERNEL, levels)]
        g_s: list[nn.Module] = []
        for width, after, depth in zip(widths[::-1], (*widths[-2::-1], 3), _DEPTHS[::-1], strict=True):
            g_s += [ResidualNeighbourhood(width, depth, _KERNEL, levels), _deconv(width, after, 5 if after == 3 else 3)]
        self.g_a, self.g_s = nn.ModuleList(g_a), nn.ModuleList(g_s)
        hyper = [ResidualNeighbourhood(self.Z, _HYPER_DEPTH, _HYPER_KERNEL, levels) for _ in range(4)]
        self.h_a = nn.ModuleList([conv(M, self.Z, 3), hyper[0], conv(self.Z, self.Z, 3), hyper[1]])
        self.h_s = nn.ModuleList([hyper[2], _deconv(self.Z, self.Z, 3), hyper[3], _deconv(self.Z, 2 * M, 3)])
        self.gain, self.inverse_gain = gain_parameter(gains, M), gain_parameter(gains, M)
        self.hyper_gain, self.inverse_hyper_gain = gain_parameter(gains, self.Z), gain_parameter(gains, self.Z)
        self.cc_transforms, self.entropy_parameters, self.sc_transforms = (nn.ModuleList() for _ in range(3))
        for (start, stop), spatial in zip(self.slices, _SPATIAL, strict=True):
            width = stop - start
            self.cc_transforms.append(_channel_context(2 * M + start, width))
            self.entropy_parameters.append(_parameter_network(2 * M, width, len(spatial) > 1))
            self.sc_transforms += [MaskedConv2d(width, 2 * width, *of) for of in spatial if of is not None]
        self.entropy_bottleneck = FactorizedPrior(self.Z)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    @property
    def config(self) -> dict[str, Any]:
        return self._config

    @property
    def qualities(self) -> tuple[float, float] | None:
        return None if self.gain is None else (1.0, float(len(self.gain)))

    @property
    def default_quality(self) -> float | None:
        return None if self.gain is None else min(4.0, float(len(self.gain)))

    @property
    def prior(self) -> FactorizedPrior:
        return self.entropy_bottleneck

    @property
    def exact_networks(self) -> Mapping[str, nn.Sequential]:
        return {}

    @cached_property
    def slices(self) -> tuple[tuple[int, int], ...]:
        """First channel of each slice, and the one after its last."""
        ends = [self.M - math.ceil(self.M * math.cos(i * math.pi / 8)) for i in range(4)] + [self.M]
        return tuple(pairwise(ends))

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        first, second, third, fourth = self.slices
        quarters = [(Part(*first, phase),) for phase in ((0, 0), (1, 1), (0, 1), (1, 0))]
        halves = [checkerboard(colour, *second) for colour in (1, 0)]
        halves += [checkerboard(colour, *third) for colour in (0, 1)]
        return Step(1), *(Step(0, parts) for parts in (*quarters, *halves, (Part(*fourth),)))

    def level_shapes(self, size: tuple[int, int]) -> tuple[Shape, ...]:
        rows, columns = (-(-side // self.alignment) for side in size)
        return (self.M, 4 * rows, 4 * columns), (self.Z, rows, columns)

    def analysis(self, x: Tensor, quality: Tensor | None) -> tuple[Tensor, ...]:
        features = _run(self.g_a[:-1], x, quality)
        with torch.autocast(x.device.type, enabled=False):  # latents need more digits than bf16 has
            y = _gained(self.g_a[-1](features.float(), quality), self.gain, quality)
        return y, _gained(_run(self.h_a, y, quality), self.hyper_gain, quality)

    def synthesis(self, levels: Sequence[Tensor], quality: Tensor | None) -> Tensor:
        return _run(self.g_s, _gained(levels[0], self.inverse_gain, quality), quality)

    # The context.

    def parameters_of(self, step: Step, done: Done) -> Parameters:
        if step.level == 1:
            return self.prior_parameters(done)
        if "hyper" not in done.kept:
            quality = None if done.quality is None else torch.tensor(done.quality).to(done.device, non_blocking=True)
            z_hat = _gained(done.level(1), self.inverse_hyper_gain, quality)
            done.kept["hyper"] = _run(self.h_s, z_hat, quality)
        start, stop = step.parts[0].start, cast(int, step.parts[0].stop)
        number = self.slices.index((start, stop))
        stage = [each for each in self.steps if each.parts[0].start == start and each.level == 0].index(step)
        hyper = done.kept["hyper"]
        if stage == 0:
            done.kept["cc"] = self.cc_transforms[number](torch.cat([hyper, done.level(0)[:, :start]], 1))
        scales, means = [], []
        for part in step.parts:
            inputs = [_at(hyper, part), _at(done.kept["cc"], part)]
            if stage > 0:
                before = sum(len(spatial) - 1 for spatial in _SPATIAL[:number])
                done_here = done.level(0)[:, start:stop]
                inputs.insert(1, self.sc_transforms[before + stage - 1](done_here, cast(tuple[int, int], part.phase)))
            scale, mean = self._scales_and_means(number, inputs).chunk(2, 1)
            scales.append(scale.flatten(1))
            means.append(mean.flatten(1))
        return Parameters(torch.cat(means, 1), torch.cat(scales, 1), gathered=True)

    def _scales_and_means(self, number: int, inputs: Sequence[Tensor]) -> Tensor:
        """Scales and means. Without the spatial context, whose channels lie in the middle, its weights are left out."""
        network = cast(nn.Sequential, self.entropy_parameters[number])
        first, joined = cast(nn.Conv2d, network[0]), torch.cat(list(inputs), 1)
        weight = first.weight
        if joined.shape[1] < weight.shape[1]:
            weight = torch.cat([weight[:, : 2 * self.M], weight[:, -inputs[-1].shape[1] :]], 1)
        return network[1:](F.conv2d(joined, weight, first.bias))


class ResidualNeighbourhood(nn.Module):
    """RNAB: blocks of neighbourhood attention, with a skip around them all. (B, C, H, W) -> same."""

    def __init__(self, channels: int, depth: int, kernel: int, levels: int | None) -> None:
        super().__init__()
        blocks = (
            NeighbourhoodBlock(channels, channels // _HEAD, levels=levels, kernel=kernel, mlp_ratio=_MLP_RATIO)
            for _ in range(depth)
        )
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, quality: Tensor | None) -> Tensor:
        y = x
        for block in self.blocks:
            y = block(y, quality)
        return x + y


class MaskedConv2d(nn.Conv2d):
    """A convolution of which some taps alone count, computed at one phase of a 2x2 partition.

    taps: "corners" of 3 x 3; "odd": those at an odd distance, along rows and columns together; "odd rows and columns":
    besides, those in odd rows.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, taps: str) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        row, column = torch.meshgrid(*(torch.arange(kernel) - kernel // 2,) * 2, indexing="ij")
        if taps == "corners":
            counting = (row % 2 == 1) & (column % 2 == 1)
        else:
            counting = (row + column) % 2 == 1
            if taps == "odd rows and columns":
                counting |= row % 2 == 1
        self.register_buffer("mask", counting.float(), persistent=False)

    def forward(self, x: Tensor, phase: tuple[int, int]) -> Tensor:  # type: ignore[override]
        """(B, C, H, W) -> what the convolution has at rows phase[0] :: 2 and columns phase[1] :: 2."""
        side = self.kernel_size[0] // 2
        x = F.pad(x, (side, side, side, side))[..., phase[0] :, phase[1] :]
        return F.conv2d(x, self.weight * self.mask, self.bias, stride=2)


def _at(values: Tensor, part: Part) -> Tensor:
    """A part's positions of all channels."""
    return values if part.phase is None else values[..., part.phase[0] :: 2, part.phase[1] :: 2]


def _run(layers: nn.ModuleList, x: Tensor, quality: Tensor | None) -> Tensor:
    for layer in layers:
        x = layer(x, quality) if isinstance(layer, ResidualNeighbourhood) else layer(x)
    return x


def _gained(values: Tensor, gains: Tensor | None, quality: Tensor | None) -> Tensor:
    return values if gains is None or quality is None else values * of_quality(gains, quality)[:, :, None, None]


def _deconv(inputs: int, outputs: int, kernel: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, kernel, 2, padding=kernel // 2, output_padding=1)


def _channel_context(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 5, padding=2),
        nn.GELU(),
        nn.Conv2d(width, width, 5, padding=2),
        nn.GELU(),
        nn.Conv2d(width, 2 * width, 3, padding=1),
    )


def _parameter_network(hyper: int, width: int, spatial: bool) -> nn.Sequential:
    first, second = (width * 10 // 3, width * 8 // 3) if spatial else (2 * width, 2 * width)
    inputs = hyper + (4 if spatial else 2) * width
    return nn.Sequential(
        nn.Conv2d(inputs, first, 1), nn.GELU(), nn.Conv2d(first, second, 1), nn.GELU(), nn.Conv2d(second, 2 * width, 1)
    )
