"""The coding order of a codec: steps, and which elements of a level each of them codes.

Step(0, (*checkerboard(0, 0, 8), *checkerboard(1, 8, 16)))    even squares of channels 0-7 of y, odd ones of 8-15
Step(0, (*checkerboard(1, 0, 8), *checkerboard(0, 8, 16)))    the rest
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from pylatent.coding.container import MAX_SECTIONS
from pylatent.errors import ModelError

Shape = tuple[int, int, int]  # channels, height, width
_Array = TypeVar("_Array", Tensor, np.ndarray)


@dataclass(frozen=True)
class Part:
    """Channels `start` to `stop` - 1 of a level (None: to its last), everywhere or at one phase of a 2x2 partition.

    phase: (row, column), each 0 or 1: the positions with these remainders modulo 2, of which a level one high or wide
    may have none.
    """

    start: int = 0
    stop: int | None = None
    phase: tuple[int, int] | None = None

    def of(self, values: _Array, first: int = 0) -> _Array:
        """The view (..., C, h', w') of these elements of a level's channels from `first` on."""
        values = values[..., self.start - first : None if self.stop is None else self.stop - first, :, :]
        return values if self.phase is None else values[..., self.phase[0] :: 2, self.phase[1] :: 2]


@dataclass(frozen=True)
class Step:
    """What is coded together, in one section: parts of one level, whose symbols follow each other part by part.

    coded: without it the elements take their means: there are no symbols and no section.
    """

    level: int
    parts: tuple[Part, ...] = (Part(),)
    coded: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether this is a level at once, whose tensors stay (B, C, h, w); those of other steps are (B, n)."""
        return self.parts == _WHOLE

    def channels(self, shape: Shape) -> tuple[int, int]:
        """The first channel of the step and the one after its last: those that its parameters are given for."""
        return min(part.start for part in self.parts), max(part.stop or shape[0] for part in self.parts)

    def count(self, shape: Shape) -> int:
        """Number of elements in a level of `shape`."""
        return sum(
            ((part.stop or shape[0]) - part.start) * _extent(shape[1], part, 0) * _extent(shape[2], part, 1)
            for part in self.parts
        )

    def gather(self, values: Tensor, batch: int, shape: Shape) -> Tensor:
        """The elements (B, n) of values that broadcast to (B, the step's channels, h, w); all of a whole step."""
        if self.is_whole:
            return values
        first, last = self.channels(shape)
        values = values.expand(batch, last - first, *shape[1:])
        return torch.cat([part.of(values, first).flatten(1) for part in self.parts], 1)

    def scatter(self, elements: Tensor, target: Tensor) -> None:
        """The inverse, in place: elements (B, n) into a level (B, C, h, w)."""
        at = 0
        for part in self.parts:
            places = part.of(target)
            count = places[0].numel()
            places.copy_(elements[:, at : at + count].view(places.shape))
            at += count


_WHOLE = (Part(),)


def checkerboard(colour: int, start: int = 0, stop: int | None = None) -> tuple[Part, Part]:
    """The squares of a checkerboard with (row + column) % 2 == colour, as two parts."""
    return Part(start, stop, (0, colour)), Part(start, stop, (1, 1 - colour))


@lru_cache(maxsize=64)
def whole_levels(levels: int) -> tuple[Step, ...]:
    """One step a level, the deepest first."""
    return tuple(Step(level) for level in reversed(range(levels)))


@lru_cache(maxsize=64)
def check_steps(steps: tuple[Step, ...], channels: tuple[int, ...]) -> None:
    """Raises ModelError unless 1 to 64 steps are coded, and all give every element of levels of `channels` once."""
    sections = sum(step.coded for step in steps)
    if not 1 <= sections <= MAX_SECTIONS:
        raise ModelError(f"a codec must have 1 to {MAX_SECTIONS} coded steps, got {sections}")
    covered = [np.zeros((count, 2, 2), np.int32) for count in channels]
    for number, step in enumerate(steps):
        for part in step.parts:
            if not (0 <= step.level < len(channels) and 0 <= part.start < (part.stop or channels[step.level])):
                raise ModelError(f"step {number} codes {part} of level {step.level}, which has no such channels")
            times = part.of(covered[step.level])
            times += 1
            if part.stop is not None and part.stop > channels[step.level]:
                raise ModelError(f"step {number} codes channels up to {part.stop}, level {step.level} has fewer")
    for level, times in enumerate(covered):
        if (times != 1).any():
            channel, row, column = (int(at[0]) for at in np.nonzero(times != 1))
            raise ModelError(
                f"the steps must code every element once, but channel {channel} of level {level} is coded "
                f"{times[channel, row, column]} times at phase {(row, column)}"
            )


def _extent(length: int, part: Part, side: int) -> int:
    return length if part.phase is None else (length + 1 - part.phase[side]) // 2


def symbols_of(steps: Sequence[Step], shapes: Sequence[Shape]) -> list[int]:
    """The number of elements of each step."""
    return [step.count(shapes[step.level]) for step in steps]
