"""The transform of a residual: three opponent colours, then a cosine transform of blocks of 8x8, in integers.

Both are orthonormal but for their rounding, so that errors of coefficients and of pixels have the same mean square.
Integers throughout. They are kept in float64, whose products and sums here stay below 2^53 and so are exact.
"""

from __future__ import annotations

import torch
from torch import Tensor

SIDE = 8
BANDS = SIDE * SIDE
UNITS = 8  # of a grey level, in which coefficients are
_COSINES = (2896, 4017, 3784, 3406, 2896, 2276, 1567, 799)  # 2^12 cos(i pi / 16), the first one 2^12 / sqrt 2
_BASIS_BITS = 13
_COLOURS = ((2365, 2365, 2365), (2896, 0, -2896), (-1672, 3344, -1672))  # 2^12 of an orthonormal basis
_COLOUR_BITS = 12
_FINE_BITS = 3  # of coefficients' units, that values between the two transforms have besides

# Bands in the order of their frequency, and among equal ones by rows.
ORDER = tuple(sorted(range(BANDS), key=lambda band: (band // SIDE + band % SIDE, band)))


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


def coefficients(pixels: Tensor) -> Tensor:
    """Differences or pixels (3, H, W), whole numbers from -255 to 255, H and W multiples of 8 -> float64
    (3, 64, H / 8, W / 8) whole numbers, in eighths of a grey level."""
    channels, height, width = pixels.shape
    colours = (_COLOUR_MATRIX @ pixels.double().flatten(1)).view(channels, height // SIDE, SIDE, width // SIDE, SIDE)
    rows = colours.permute(0, 2, 4, 1, 3).reshape(channels, BANDS, -1)
    found = _rounded(_MATRIX @ rows, 2 * _BASIS_BITS + _COLOUR_BITS - UNITS.bit_length() + 1)
    return found.view(channels, BANDS, height // SIDE, width // SIDE)


def residual(coefficients: Tensor) -> Tensor:
    """The inverse, but for roundings: float64 (3, 64, h, w) below 2^18 -> float64 (3, 8 h, 8 w) whole grey levels."""
    channels, _, rows, columns = coefficients.shape
    blocks = _rounded(_MATRIX.T @ coefficients.flatten(2), 2 * _BASIS_BITS - _FINE_BITS)
    planes = blocks.view(channels, SIDE, SIDE, rows, columns).permute(0, 3, 1, 4, 2).reshape(channels, -1)
    found = _rounded(_COLOUR_MATRIX.T @ planes, _COLOUR_BITS + _FINE_BITS + UNITS.bit_length() - 1)
    return found.view(channels, rows * SIDE, columns * SIDE)


def _rounded(values: Tensor, bits: int) -> Tensor:
    """floor(values / 2^bits + 1/2): exact, as division by a power of two is."""
    return values.add_(2.0 ** (bits - 1)).mul_(2.0**-bits).floor_()
