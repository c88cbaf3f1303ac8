"""ContextHyperprior: a residual hyperprior whose y is coded in two steps, the second with what the first tells.

What else differs from `ResidualHyperprior`: of y and z only the first channels are coded, the others take their means
(trained models leave half of them without information); z has a prior for each band of qualities; and the tables of y
are two sets, one a step, which `pylatent.train.tables` fits to what occurs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from pylatent.codecs._context_native import NativeContext, NativeParameters
from pylatent.codecs.context import ExactParameters, FloatParameters, ScaleGrid, TwoStepContext, two_steps
from pylatent.codecs.exact import to_grid
from pylatent.codecs.latents import Parameters
from pylatent.codecs.residual import ANALYSIS_LIMITS, SYNTHESIS_LIMITS, ResidualHyperprior
from pylatent.codecs.steps import Part, Step
from pylatent.codecs.walk import Done, Here
from pylatent.coding.tables import CdfTables
from pylatent.entropy.factorized import FactorizedPrior
from pylatent.entropy.gaussian import default_scales, gaussian_bits


class ContextHyperprior(ResidualHyperprior):
    """A variable-rate chain of two levels, y in two steps; alignment 16.

    coded: how many channels of y (even) and z are coded. context: channels of the networks of codecs/context.py.
    bands: priors of z, each for as many qualities as the others. The rest as in ResidualHyperprior.

    Raises ValueError for what does not fit together.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 192),
        *,
        M: int = 256,
        N: int = 128,
        coded: tuple[int, int] = (144, 52),
        hyper: tuple[int, int] = (160, 192),
        context: tuple[int, int] = (128, 192),
        bands: int = 4,
        analysis_limits: Sequence[float | None] = ANALYSIS_LIMITS,
        synthesis_limits: Sequence[float | None] = SYNTHESIS_LIMITS,
        lambdas: Sequence[float],
    ) -> None:
        coded_y, coded_z = coded
        if not (2 <= coded_y <= M and coded_y % 2 == 0 and 1 <= coded_z <= N):
            raise ValueError(f"`coded` must be an even number from 2 to {M} and one from 1 to {N}, got {tuple(coded)}")
        if not 1 <= bands <= len(lambdas):
            raise ValueError(f"`bands` must be from 1 to {len(lambdas)}, the number of `lambdas`, got {bands}")
        super().__init__(
            widths,
            M=M,
            N=N,
            hyper=hyper,
            analysis_limits=analysis_limits,
            synthesis_limits=synthesis_limits,
            lambdas=lambdas,
        )
        self._config |= {"coded": list(coded), "context": list(context), "bands": bands}
        self.coded, self.bands = (coded_y, coded_z), bands
        self.h_s[-1] = nn.Conv2d(hyper[1], coded_y + M, 3, padding=1)
        self.entropy_bottleneck = FactorizedPrior(bands * coded_z)
        self.constants = nn.Parameter(torch.zeros(N - coded_z), requires_grad=False)  # of z's other channels
        self.context = TwoStepContext(coded_y, *context)
        self._grid: ScaleGrid | None = None
        self._native: NativeContext | None = None

    # The coding order.

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        (coded_y, coded_z), rest = self.coded, []
        if coded_z < self.N:
            rest.append(Step(1, (Part(coded_z),), coded=False))
        if coded_y < self.M:
            rest.append(Step(0, (Part(coded_y),), coded=False))
        return Step(1, (Part(0, coded_z),)), *rest, *two_steps(coded_y)

    def parameters_of(self, step: Step, done: Done) -> Parameters:
        if step.level == 1:
            return self._parameters_of_z(step, done)
        if "native" not in done.kept:
            done.kept["native"] = self._begin_native(done)
        if (native := done.kept["native"]) is not None:
            if not step.coded:
                return native.rest
            if step == self.steps[-2]:
                return native.first
            if (second := native.second(done.taken[self.steps[-2]])) is not None:
                return second
            done.kept["native"] = None
        if "y" not in done.kept:
            done.kept["y"] = self._begin_y(done)
        parameters, rest = done.kept["y"]
        if not step.coded:
            return Parameters(rest, computed=False)
        if step == self.steps[-2]:
            return parameters.first
        values = parameters.residuals(done.level(0)[:, : self.coded[0]])
        is_done = torch.zeros(1, *values.shape[1:], dtype=values.dtype, device=values.device)
        first = self.steps[-2]
        first.scatter(is_done.new_ones(1, first.count(done.shapes[0])), is_done)
        size = done.shapes[0][1:]
        values = values * is_done if torch.is_grad_enabled() else values.mul_(is_done)
        neighbours = self._run("context.neighbours", values, done, size)
        hyper = self._run("context.hyper", parameters.inputs(), done, size)
        return parameters.second(self._run("context.fuse", parameters.joined(hyper, neighbours), done, size))

    def _begin_native(self, done: Done) -> NativeParameters | None:
        """The parameters of y by the kernels of this processor, where there are any."""
        if not done.exact or done.device.type != "cpu":
            return None
        networks = self._ready().networks
        if self._native is None or self._native.networks is not networks:
            assert self._grid is not None
            self._native = NativeContext(networks, self._grid, self.coded[0], len(default_scales()))
        return self._native.begin(self._parent(0, done), self.steps[-2:], done.shapes[0])

    def _begin_y(self, done: Done) -> tuple[FloatParameters | ExactParameters, Tensor]:
        """What h_s says of the channels that are coded, and the means of the others."""
        scale, mean, rest = self._predicted(0, done).split([self.coded[0], self.coded[0], self.M - self.coded[0]], 1)
        if not done.exact:
            return FloatParameters(mean, scale), rest
        self._ready()
        assert self._grid is not None
        return ExactParameters(mean, scale, self._grid, len(default_scales())), rest

    def _parameters_of_z(self, step: Step, done: Done) -> Parameters:
        coded = self.coded[1]
        if not step.coded:
            constants = to_grid(self.constants) if done.exact else self.constants.detach()
            return Parameters(constants.view(-1, 1, 1).to(done.device), computed=False)
        medians = self._ready().medians if done.exact else self.prior.medians
        channels = torch.tensor(self._bands_of(done))[:, None] * coded + torch.arange(coded)
        mean = medians.to(done.device)[channels.to(done.device)]
        tables = self.prior.table_of_channel[channels]
        return Parameters(mean[:, :, None, None], indexes=tables[:, :, None, None], computed=False)

    def _bands_of(self, done: Done) -> list[int]:
        """The band of each picture's quality."""
        assert done.quality is not None
        return [self.band_of(quality) for quality in done.quality]

    def band_of(self, quality: float) -> int:
        """The number of the prior of z that a quality uses."""
        assert self.lambdas is not None
        return min(int((quality - 1) * self.bands / len(self.lambdas)), self.bands - 1)

    def bits_of(self, here: Here, residual: Tensor) -> Tensor:
        if here.scale is not None:
            return gaussian_bits(residual, here.scale)
        _, height, width = here.done.shapes[1]
        each = residual.view(-1, 1, self.coded[1], height, width)
        bands = self._bands_of(here.done)
        bits = [self.prior.bits(one, band * self.coded[1]) for one, band in zip(each, bands, strict=True)]
        return torch.cat(bits).flatten(1)

    # What steers the coder.

    @property
    def exact_networks(self) -> dict[str, nn.Sequential]:
        context = {f"context.{name}": network for name, network in self.context.networks.items()}
        return super().exact_networks | context

    def scales_of(self, level: int) -> Tensor | None:
        return None if level == 1 else default_scales().repeat(2)

    def update(self, tables: tuple[CdfTables, CdfTables] | None = None) -> None:
        super().update(tables)
        self._grid = ScaleGrid.build()

    def coding_state(self) -> dict[str, Tensor]:
        state = super().coding_state()
        assert self._grid is not None
        return state | self._grid.state() | {"constants": to_grid(self.constants).to(torch.int32)}

    def _take_coding_state(self, state: Mapping[str, Tensor]) -> None:
        super()._take_coding_state(state)
        self._grid = ScaleGrid.from_state(state)
