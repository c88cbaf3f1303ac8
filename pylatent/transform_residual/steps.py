"""The order in which coefficients are coded.

Bands are coded in groups of rising frequency. In each group the three colours follow each other, and of each the blocks
whose row and column add up to an even number come first, then the others, which know the four at their sides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

COLOURS = 3
SIDE = 8
BANDS = SIDE * SIDE
UNITS = 8  # of a grey level, in which coefficients are

# Bands in the order of their frequency, and among equal ones by rows.
ORDER = tuple(sorted(range(BANDS), key=lambda band: (band // SIDE + band % SIDE, band)))
_FIRST = (0, 1, 2, 3, 5, 7, 9, 2 * SIDE - 1)  # frequencies, row plus column, that the groups begin with
_FREQUENCIES = [band // SIDE + band % SIDE for band in ORDER]
_STARTS = [_FREQUENCIES.index(first) for first in _FIRST[:-1]] + [BANDS]
GROUPS = [slice(start, end) for start, end in pairwise(_STARTS)]

# Expected sizes in 2^-18 of a step: class k, from 1 on, begins at ceil(2^(k / 4 + 9)).
LEVELS = tuple(math.ceil(2 ** (9 + k / 4)) for k in range(1, 48))
CLASSES = len(LEVELS) + 1


@dataclass(frozen=True)
class Step:
    """The bands of a group in one colour; second: in the blocks that know their sides."""

    group: int
    colour: int
    second: bool

    @property
    def bands(self) -> slice:
        return GROUPS[self.group]

    @property
    def numbers(self) -> tuple[int, int, int, int, bool]:
        """For the native core: where the group before begins, this one begins and ends, the colour, which blocks."""
        return GROUPS[max(self.group - 1, 0)].start, self.bands.start, self.bands.stop, self.colour, self.second


def steps() -> Iterator[Step]:
    """In coding order."""
    for group in range(len(GROUPS)):
        for colour in range(COLOURS):
            yield Step(group, colour, False)
            yield Step(group, colour, True)


def _parents() -> list[int]:
    """Of each band, in order, the nearest one towards the lowest frequency that is in a group before; else 0."""
    place = {band: number for number, band in enumerate(ORDER)}
    parents = [0] * BANDS
    for group in GROUPS[1:]:
        for number in range(group.start, group.stop):
            row, column = divmod(ORDER[number], SIDE)
            while place[row * SIDE + column] >= group.start:
                row, column = (row - 1, column) if row >= column else (row, column - 1)
            parents[number] = place[row * SIDE + column]
    return parents


PARENTS = _parents()
