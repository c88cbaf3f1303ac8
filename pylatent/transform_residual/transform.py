"""The transform of a residual: three opponent colours, then a cosine transform of blocks of 8x8, in integers.

Both are orthonormal but for their rounding, so that errors of coefficients and of pixels have the same mean square.
Integers throughout. They are computed in float64, whose products and sums here stay below 2^53 and so are exact.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent.transform_residual import native
from pylatent.transform_residual.steps import BANDS, COLOURS, ORDER, SIDE, UNITS

_COSINES = (2896, 4017, 3784, 3406, 2896, 2276, 1567, 799)  # 2^12 cos(i pi / 16), the first one 2^12 / sqrt 2
_BASIS_BITS = 13
_COLOURS = ((2365, 2365, 2365), (2896, 0, -2896), (-1672, 3344, -1672))  # 2^12 of an orthonormal basis
_COLOUR_BITS = 12
_FINE_BITS = 3  # of coefficients' units, that values between the two transforms have besides


def _cosine(frequency: int, place: int) -> int:
    angle = frequency * (2 * place + 1) % 32  # in pi / 16
    if frequency == 0:
        return _COSINES[0]
    angle = min(angle, 32 - angle)
    if angle == 8:
        return 0
    return _COSINES[angle] if angle < 8 else -_COSINES[16 - angle]


def _matrix() -> Tensor:
    """(64 bands in order, 64 pixels of a block), times 2^(2 _BASIS_BITS)."""
    one = torch.tensor([[_cosine(k, n) for n in range(SIDE)] for k in range(SIDE)], dtype=torch.float64)
    return torch.kron(one, one)[list(ORDER)]


_MATRIX = _matrix()
_COLOUR_MATRIX = torch.tensor(_COLOURS, dtype=torch.float64)


def coefficients(pixels: Tensor, less: Tensor | None = None) -> Tensor:
    """Of pixels, or of what they are more than others: uint8 (3, H, W) -> int16 (3, 64, rows, columns of blocks), in
    eighths of a grey level. The outermost pixels are repeated up to whole blocks."""
    size = pixels.shape[1], pixels.shape[2]
    if (core := native.core()) is not None:
        found = torch.empty(COLOURS, BANDS, *_blocks(size), dtype=torch.int16)
        planes = _dense(pixels), _dense(pixels if less is None else less)
        of, minus = ((plane.data_ptr(), plane.stride(0)) for plane in planes)
        core.transform(of, (0, 0) if less is None else minus, size, torch.get_num_threads(), found.data_ptr())
        return found
    values = _whole(pixels) if less is None else _whole(pixels) - _whole(less)
    rows, columns = _blocks(size)
    colours = (_COLOUR_MATRIX @ values.flatten(1)).view(COLOURS, rows, SIDE, columns, SIDE)
    blocks = colours.permute(0, 2, 4, 1, 3).reshape(COLOURS, BANDS, -1)
    found = _rounded(_MATRIX @ blocks, 2 * _BASIS_BITS + _COLOUR_BITS - UNITS.bit_length() + 1)
    return found.view(COLOURS, BANDS, rows, columns).to(torch.int16)


def restored(values: Tensor, step: int, pixels: Tensor) -> Tensor:
    """The inverse, but for roundings, added to pixels: values int16 (3, 64, rows, columns), in steps, below 2^18 times
    `step`; pixels uint8 (3, H, W) -> uint8 (3, H, W)."""
    size = pixels.shape[1], pixels.shape[2]
    if (core := native.core()) is not None:
        shown, pixels = torch.empty(COLOURS, *size, dtype=torch.uint8), _dense(pixels)
        of, to = ((plane.data_ptr(), plane.stride(0)) for plane in (pixels, shown))
        core.restore(values.contiguous().data_ptr(), step, of, size, torch.get_num_threads(), to)
        return shown
    rows, columns = _blocks(size)
    blocks = _rounded(_MATRIX.T @ (values.flatten(2).double() * step), 2 * _BASIS_BITS - _FINE_BITS)
    planes = blocks.view(COLOURS, SIDE, SIDE, rows, columns).permute(0, 3, 1, 4, 2).reshape(COLOURS, -1)
    found = _rounded(_COLOUR_MATRIX.T @ planes, _COLOUR_BITS + _FINE_BITS + UNITS.bit_length() - 1)
    found = found.view(COLOURS, rows * SIDE, columns * SIDE)[:, : size[0], : size[1]]
    return (pixels + found).clamp_(0, 255).to(torch.uint8)


def _blocks(size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of blocks."""
    return -(-size[0] // SIDE), -(-size[1] // SIDE)


def _whole(pixels: Tensor) -> Tensor:
    """uint8 (3, H, W) -> float64, with whole blocks."""
    rows, columns = (-side % SIDE for side in pixels.shape[1:])
    return F.pad(pixels[None].double(), (0, columns, 0, rows), mode="replicate")[0]


def _dense(pixels: Tensor) -> Tensor:
    """(3, H, W) whose rows follow each other without gaps; bands of the rows of a larger picture may be."""
    return pixels if pixels[0].is_contiguous() else pixels.contiguous()


def _rounded(values: Tensor, bits: int) -> Tensor:
    """floor(values / 2^bits + 1/2): exact, as division by a power of two is."""
    return values.add_(2.0 ** (bits - 1)).mul_(2.0**-bits).floor_()
