"""Two-step contexts on the CPU (csrc/two_step_context): the integers of codecs/context.py, sooner.

Nothing is written in the shape of a level in between: parameters are those of a step's own elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pylatent import _native
from pylatent.codecs import _exact_native
from pylatent.codecs.exact import ExactNetwork
from pylatent.codecs.exact_layer import ExactLayer
from pylatent.codecs.latents import Parameters
from pylatent.codecs.steps import Step

if TYPE_CHECKING:
    from pylatent.codecs.context import ScaleGrid

_NAMES = ("h_s", "context.hyper", "context.neighbours", "context.fuse")
_LARGEST_SYMBOL = float(1 << 30)


class NativeContext:
    """The native form of a context's networks, made when first needed.

    networks: "h_s", "context.hyper", "context.neighbours" and "context.fuse" among them. channels: of y that are coded;
    tables: of the first step. variant: a place in `_exact_native.variants()`.
    """

    def __init__(
        self, networks: Mapping[str, ExactNetwork], grid: ScaleGrid, channels: int, tables: int, variant: int = -1
    ) -> None:
        self.networks = networks
        self._grid, self._channels, self._tables, self._variant = grid, channels, tables, variant
        self._packed: Any = None

    def begin(self, z: Tensor, steps: Sequence[Step], shape: tuple[int, int, int]) -> NativeParameters | None:
        """What is known before the first step. None where there are no kernels, or values are too large for them."""
        layers = [self.networks[name].layers for name in _NAMES]
        if any(_exact_native.why_not_native(z, one) is not None for one in layers):
            return None
        if self._packed is None:
            self._packed = self._pack(layers)
        if not self._packed:
            return None
        parameters = NativeParameters(self._packed, z, (steps[0], steps[1]), shape, self._channels, self._variant)
        return parameters if parameters.good else None

    def _pack(self, layers: list[tuple[ExactLayer, ...]]) -> Any:
        grid = self._grid
        functions = (grid.thresholds, grid.features, grid.sigmas, grid.reciprocals)
        integers = (function.to(torch.int32).numpy() for function in functions)
        weights = (_exact_native.as_tuples(one) for one in layers)
        try:
            return _native.core().TwoStepContext(*weights, *integers, self._channels, self._tables)
        except OverflowError:  # weights beyond 16 bits
            return False

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": None}  # what is packed belongs to the process


class NativeParameters:
    """Parameters of the steps of y of some pictures: of `first`, of the channels that are not coded (`rest`), and, with
    the first step's symbols, of the second."""

    def __init__(
        self, packed: Any, z: Tensor, steps: tuple[Step, Step], shape: tuple[int, int, int], coded: int, variant: int
    ):
        """z: float64 integers (B, N, h, w). shape: of y. Check `good` before use."""
        batch, (channels, height, width) = len(z), shape
        self._packed, self._steps, self._shape, self._variant = packed, steps, shape, variant
        self._kept = (
            torch.empty(batch, height, width, coded, dtype=torch.int32),
            torch.empty(batch, height, width, coded, dtype=torch.uint8),
        )
        rest = torch.empty(batch, (channels - coded) * height * width)
        mean, tables = self._empty(steps[0], batch)
        z = z.contiguous()
        self.good: bool = packed.first(
            *(z.data_ptr(), *z.shape, height, width, rest.data_ptr(), mean.data_ptr(), tables.data_ptr()),
            *(mean.shape[1], *(kept.data_ptr() for kept in self._kept), _native.thread_count(), self._variant),
        )
        self.first = Parameters(mean, indexes=tables, gathered=True)
        self.rest = Parameters(rest, computed=False, gathered=True)

    def second(self, symbols: Tensor) -> Parameters | None:
        """symbols: (B, n) of the first step. None if an activation is too large for 16 bits."""
        if symbols.is_floating_point() and not float(symbols.abs().amax()) < _LARGEST_SYMBOL:
            return None
        symbols = symbols.to(torch.int32).contiguous()
        batch, elements = symbols.shape
        mean, tables = self._empty(self._steps[1], batch)
        good = self._packed.second(
            *(symbols.data_ptr(), batch, *self._shape[1:], *(kept.data_ptr() for kept in self._kept), elements),
            *(mean.data_ptr(), tables.data_ptr(), mean.shape[1], _native.thread_count(), self._variant),
        )
        return Parameters(mean, indexes=tables, gathered=True) if good else None

    def _empty(self, step: Step, batch: int) -> tuple[Tensor, Tensor]:
        count = step.count(self._shape)
        return torch.empty(batch, count), torch.empty(batch, count, dtype=torch.uint8)
