"""What is known of coefficients before they are coded, and how large they are expected to be.

Bands are coded in groups of rising frequency. In each group the three colours follow each other, and of each the blocks
whose row and column add up to an even number come first, then the others, which know the four at their sides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent import _native
from pylatent.transform_residual.transform import BANDS, ORDER, SIDE
from pylatent.transform_residual.weights import WEIGHTS

COLOURS = 3
_UNIT = 16  # of a quantisation step, in which sizes are
_LARGEST = 255  # size of a coded value that counts
_NEAR, _FAR = 256, 4080  # sizes of what the codec decodes, up to which they count
_FIRST = (0, 1, 2, 3, 5, 7, 9, 2 * SIDE - 1)  # frequencies, row plus column, that the groups begin with
_FREQUENCIES = [band // SIDE + band % SIDE for band in ORDER]
_STARTS = [_FREQUENCIES.index(first) for first in _FIRST[:-1]] + [BANDS]
GROUPS = [slice(start, end) for start, end in pairwise(_STARTS)]

# Expected sizes in 2^-18 of a step: class k, from 1 on, begins at ceil(2^(k / 4 + 9)).
LEVELS = tuple(math.ceil(2 ** (9 + k / 4)) for k in range(1, 48))
CLASSES = len(LEVELS) + 1
_BOUNDS = torch.tensor(LEVELS, dtype=torch.int32)


@dataclass(frozen=True)
class Step:
    """The bands of a group in one colour; second: in the blocks that know their sides."""

    group: int
    colour: int
    second: bool


def steps() -> Iterator[Step]:
    """In coding order."""
    for group in range(len(GROUPS)):
        for colour in range(COLOURS):
            yield Step(group, colour, False)
            yield Step(group, colour, True)


def _parents() -> Tensor:
    """Of each band, in order, the nearest one towards the lowest frequency that is in a group before; else 0."""
    place = {band: number for number, band in enumerate(ORDER)}
    parents = [0] * BANDS
    for group in GROUPS[1:]:
        for number in range(group.start, group.stop):
            row, column = divmod(ORDER[number], SIDE)
            while place[row * SIDE + column] >= group.start:
                row, column = (row - 1, column) if row >= column else (row, column - 1)
            parents[number] = place[row * SIDE + column]
    return torch.tensor(parents)


_PARENTS = _parents()
_PARENTS_LIST: list[int] = _PARENTS.tolist()


class Context:
    """Of one picture, or band of rows: all that is coded so far.

    hat: float64 (3, 64, h, w), coefficients of what the codec decodes; step: of quantisation, in their units. coded:
    int16, values in steps, 0 where there are none yet; sizes: of these, in sixteenths, as far as they count.
    """

    def __init__(self, hat: Tensor, step: int) -> None:
        found = (hat.abs() * _UNIT / step).floor_()  # below 2^20: exact where it counts
        found[:, 0] = 0  # brightness tells nothing
        self.far = found.clamp(max=_FAR).to(torch.int16)
        self.near = found.clamp_(max=_NEAR).to(torch.int16)
        self.busy = self.near.sum(1, dtype=torch.int32).div(BANDS, rounding_mode="floor")
        self.sizes, self.coded = torch.zeros_like(self.near), torch.zeros_like(self.near)
        rows, columns = hat.shape[2:]
        parity = (torch.arange(rows)[:, None] + torch.arange(columns)) % 2
        self.places = (parity == 0).flatten().nonzero()[:, 0], (parity == 1).flatten().nonzero()[:, 0]

    def count(self, step: Step) -> int:
        group = GROUPS[step.group]
        return (group.stop - group.start) * len(self.places[step.second])

    def features(self, step: Step) -> Iterator[Tensor]:
        """Integers, each for all bands of the step and all blocks: (bands, h, w), or such that it expands to that."""
        group, colour = GROUPS[step.group], step.colour
        sizes = self.sizes[colour]
        if step.group:
            before = GROUPS[step.group - 1]
            nearest = sizes[before].sum(0, keepdim=True, dtype=torch.int32)
            yield nearest
            yield _sides(nearest)
            yield sizes[_PARENTS[group]]
        if step.group > 1:
            yield sizes[: GROUPS[step.group - 1].start].sum(0, keepdim=True, dtype=torch.int32)
        near = self.near[colour, group]
        mean = near.sum(0, keepdim=True, dtype=torch.int32).div(len(near), rounding_mode="floor")
        yield near
        yield self.far[colour, group]
        yield mean
        yield _sides(mean)
        yield self.busy[colour][None]
        if colour:
            yield self.near[0, group]
        for other in range(colour):
            own = self.sizes[other, group]
            yield own
            yield own.sum(0, keepdim=True, dtype=torch.int32)
            yield _sides(own)
        if step.second:
            around = _sides(sizes[group])
            yield around
            yield around.sum(0, keepdim=True, dtype=torch.int32)

    def classes(self, step: Step) -> Tensor:
        """uint8, flat: the class of the expected size of each coefficient of the step."""
        weights = WEIGHTS[step.group][2 * step.colour + step.second]
        if _native.why_not_native() is not None:
            return self._classes_in_torch(step, *weights)
        found = torch.empty(self.count(step), dtype=torch.uint8)
        pointers = (t.data_ptr() for t in (self.sizes, self.near, self.far, self.busy))
        shape = self.sizes.shape[2:]
        threads = torch.get_num_threads()
        _finder().find(*pointers, *shape, _numbers(step), weights, _PARENTS_LIST, threads, found.data_ptr())
        return found

    def _classes_in_torch(self, step: Step, first: int, *weights: int) -> Tensor:
        group = GROUPS[step.group]
        expected = torch.full((group.stop - group.start, *self.sizes.shape[2:]), first, dtype=torch.int32)
        for feature, weight in zip(self.features(step), weights, strict=True):
            if weight:
                expected.add_(feature, alpha=weight)
        return torch.bucketize(self.of(step, expected).flatten(), _BOUNDS, right=True).to(torch.uint8)

    def of(self, step: Step, values: Tensor) -> Tensor:
        """(bands, h, w) -> (bands, blocks of the step)"""
        return values.flatten(1).index_select(1, self.places[step.second])

    def put(self, step: Step, values: Tensor) -> None:
        """What has been coded: values int32 (bands, blocks of the step), in steps, of at most 16 bits."""
        if _native.why_not_native() is None:
            pointers = self.coded.data_ptr(), self.sizes.data_ptr()
            shape = self.sizes.shape[2:]
            _native.core().transform_residual_put(values.contiguous().data_ptr(), _numbers(step), *shape, *pointers)
            return
        sizes = values.abs().mul_(_UNIT).clamp_(max=_LARGEST)
        for known, new in ((self.coded, values), (self.sizes, sizes)):
            rows = known[step.colour, GROUPS[step.group]].view(len(values), -1)
            rows.index_copy_(1, self.places[step.second], new.to(torch.int16))


def _numbers(step: Step) -> tuple[int, int, int, int, bool]:
    """For the native core: where the group before begins, this one begins and ends, the colour, which blocks."""
    group = GROUPS[step.group]
    return GROUPS[max(step.group - 1, 0)].start, group.start, group.stop, step.colour, step.second


@cache
def _finder() -> Any:
    return _native.core().TransformResidualClasses(LEVELS)


def _sides(values: Tensor) -> Tensor:
    """(…, h, w) -> the sum over the four blocks at the sides, nothing beyond the picture."""
    around = F.pad(values, (1, 1, 1, 1))
    return around[..., :-2, 1:-1] + around[..., 2:, 1:-1] + around[..., 1:-1, :-2] + around[..., 1:-1, 2:]
