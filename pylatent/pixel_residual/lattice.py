"""The order in which pixels are coded: bands of rows, and in each of them ever finer lattices.

. . . .     First every 16th pixel of every 16th row. Then, for h = 8, 4, 2, 1, the lattice of spacing 2 h is filled
. 1 . 1     up to spacing h in three steps: 1, at (h, h), between four known pixels; 2, at (0, h), and 3, at (h, 0),
. 3 . 3     from four on the sides and, in step 3, four more on the diagonals. All pixels of a step are coded at
2 . 2 .     once, and know whatever earlier steps have coded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

SPACING = 16
MARGIN = SPACING // 2  # around a band, so that every neighbour is there
BAND_PIXELS = 1 << 20
SIDES = ((0, -1), (0, 1), (-1, 0), (1, 0))
DIAGONALS = ((-1, -1), (-1, 1), (1, -1), (1, 1))


@dataclass(frozen=True)
class Step:
    """Pixels (row + i stride, column + j stride); `neighbours`: (rows, columns) away, coded before."""

    row: int
    column: int
    stride: int
    neighbours: tuple[tuple[int, int], ...]

    def of(self, planes: Tensor, offset: tuple[int, int] = (0, 0)) -> Tensor:
        """A view of the step's pixels, or of what lies `offset` away, in planes (…, H + 2 MARGIN, W + 2 MARGIN)."""
        rows, columns = (
            slice(MARGIN + first + by, side - MARGIN + by, self.stride)
            for first, by, side in zip((self.row, self.column), offset, planes.shape[-2:], strict=True)
        )
        return planes[..., rows, columns]


def steps(height: int, width: int) -> Iterator[Step]:
    """The steps of a band that have pixels, in coding order."""
    yield Step(0, 0, SPACING, ())
    half = SPACING // 2
    while half:
        sides, diagonals = (
            tuple((rows * half, columns * half) for rows, columns in directions) for directions in (SIDES, DIAGONALS)
        )
        for row, column, neighbours in ((half, half, diagonals), (0, half, sides), (half, 0, sides + diagonals)):
            if row < height and column < width:
                yield Step(row, column, 2 * half, neighbours)
        half //= 2


def bands(height: int, width: int) -> list[slice]:
    """Rows that are coded together: as few bands as have at most 2^20 pixels or 16 rows, equal but for the last."""
    most = max(BAND_PIXELS // width // SPACING, 1) * SPACING
    count = -(-height // most)
    rows = -(-height // (count * SPACING)) * SPACING
    return [slice(first, min(first + rows, height)) for first in range(0, height, rows)]


def with_margin(pixels: Tensor) -> Tensor:
    """uint8 (3, H, W) -> int16 (3, H + 2 MARGIN, W + 2 MARGIN), the outermost pixels repeated."""
    rows, columns = (torch.arange(-MARGIN, side + MARGIN).clamp(0, side - 1) for side in pixels.shape[1:])
    return pixels.to(torch.int16)[:, rows][:, :, columns]
