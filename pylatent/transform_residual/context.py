"""What is known of coefficients before they are coded, and how large they are expected to be."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent.transform_residual import native
from pylatent.transform_residual.steps import BANDS, GROUPS, LEVELS, PARENTS, Step
from pylatent.transform_residual.weights import TABLES, WEIGHTS

_UNIT = 16  # of a quantisation step, in which sizes are
_LARGEST = 255  # size of a coded value that counts
_NEAR, _FAR = 256, 4080  # sizes of what the codec decodes, up to which they count
_BOUNDS = torch.tensor(LEVELS, dtype=torch.int32)
_TABLE_OF = torch.tensor(TABLES, dtype=torch.uint8)


class Context:
    """Of one picture, or band of rows: all that is coded so far.

    hat: int16 (3, 64, h, w), coefficients of what the codec decodes; step: of quantisation, in their units. coded:
    int16, values in steps, 0 where there are none yet; sizes: of these, in sixteenths, as far as they count.
    """

    def __init__(self, hat: Tensor, step: int) -> None:
        self.sizes, self.coded = torch.zeros_like(hat), torch.zeros_like(hat)
        self.shape = int(hat.shape[2]), int(hat.shape[3])
        self._places: dict[bool, Tensor] = {}
        self.core = native.core()
        if self.core is not None:
            self.near, self.far = torch.empty_like(hat), torch.empty_like(hat)
            self.busy = torch.empty(len(hat), *self.shape, dtype=torch.int32)
            pointers = self.near.data_ptr(), self.far.data_ptr(), self.busy.data_ptr()
            self.core.know(hat.data_ptr(), step, self.shape, torch.get_num_threads(), *pointers)
            return
        found = hat.int().abs_().mul_(_UNIT).div_(step, rounding_mode="floor")
        found[:, 0] = 0  # brightness tells nothing
        self.far = found.clamp(max=_FAR).to(torch.int16)
        self.near = found.clamp_(max=_NEAR).to(torch.int16)
        self.busy = self.near.sum(1, dtype=torch.int32).div(BANDS, rounding_mode="floor")

    def blocks(self, step: Step) -> int:
        """In which the step has coefficients."""
        return (self.shape[0] * self.shape[1] + 1 - step.second) // 2

    def places(self, step: Step) -> Tensor:
        """Their numbers, row by row."""
        if step.second not in self._places:
            rows, columns = (torch.arange(side) for side in self.shape)
            self._places[step.second] = ((rows[:, None] + columns) % 2 == step.second).flatten().nonzero()[:, 0]
        return self._places[step.second]

    def features(self, step: Step) -> Iterator[Tensor]:
        """Integers, each for all bands of the step and all blocks: (bands, h, w), or such that it expands to that."""
        group, colour = step.bands, step.colour
        sizes = self.sizes[colour]
        if step.group:
            before = GROUPS[step.group - 1]
            nearest = sizes[before].sum(0, keepdim=True, dtype=torch.int32)
            yield nearest
            yield _sides(nearest)
            yield sizes[PARENTS[group]]
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

    def tables(self, step: Step) -> Tensor:
        """uint8 (bands, blocks of the step): with which each coefficient is coded."""
        first, *weights = WEIGHTS[step.group][2 * step.colour + step.second]
        bands = step.bands.stop - step.bands.start
        if self.core is not None:
            found = torch.empty(bands, self.blocks(step), dtype=torch.uint8)
            pointers = (t.data_ptr() for t in (self.sizes, self.near, self.far, self.busy))
            arguments = self.shape, step.numbers, (first, *weights), torch.get_num_threads(), found.data_ptr()
            self.core.find(*pointers, *arguments)
            return found
        expected = torch.full((bands, *self.shape), first, dtype=torch.int32)
        for feature, weight in zip(self.features(step), weights, strict=True):
            if weight:
                expected.add_(feature, alpha=weight)
        return _TABLE_OF[torch.bucketize(self.of(step, expected), _BOUNDS, right=True)]

    def of(self, step: Step, values: Tensor) -> Tensor:
        """(bands, h, w) -> (bands, blocks of the step)"""
        return values.flatten(1).index_select(1, self.places(step))

    def put(self, step: Step, values: Tensor, largest: int) -> bool:
        """What has been coded: values int32 (bands, blocks of the step), in steps. False if one is beyond `largest`."""
        if self.core is not None:
            pointers = self.coded.data_ptr(), self.sizes.data_ptr()
            numbers = largest, step.numbers, self.shape, torch.get_num_threads()
            return self.core.put(values.data_ptr(), *numbers, *pointers)
        sizes = values.abs().mul_(_UNIT).clamp_(max=_LARGEST)
        for known, new in ((self.coded, values), (self.sizes, sizes)):
            rows = known[step.colour, step.bands].view(len(values), -1)
            rows.index_copy_(1, self.places(step), new.to(torch.int16))
        return bool((values.abs() <= largest).all())


def _sides(values: Tensor) -> Tensor:
    """(…, h, w) -> the sum over the four blocks at the sides, nothing beyond the picture."""
    around = F.pad(values, (1, 1, 1, 1))
    return around[..., :-2, 1:-1] + around[..., 2:, 1:-1] + around[..., 1:-1, :-2] + around[..., 1:-1, 2:]
