"""F(4x4, 3x3) in integers, rounded: 3x3 convolutions in a quarter of the products, where they need not be exact.

    V = B d B^T, rounded twice  (6x6 inputs d of a tile -> 36 numbers of 16 bits)
    M = sum over channels of U V  (U = k G w G^T / the scale of V, rounded to 16 bits)
    S = A^T M A                 (4x4 outputs)

Winograd's minimal filtering at the points 0, ±r, ±2r, ∞ with r² = 1/2: of those with ratios of 2, which need shifts
alone in A^T, they lose least by rounding (Barabasz et al., "Error analysis and improving the accuracy of Winograd
convolution for deep neural networks", ACM TOMS 2020, compare such choices). A^T has integers only: outputs of row i and
column j come 2^((i + j) / 2) times too large, and bias and multiplier of exponent i + j make up for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent.codecs.integer import MULTIPLIER_BITS, largest_sum, leaky_multiplier

SIDE, READ, EXPONENTS = 4, 6, 7
_R = math.sqrt(0.5)
_BITS = 15  # of the factors, whose products with 16-bit integers are rounded
_OUTER, _SMALL, _LARGE = (7280, 18200), (6395, 12790, 4522, 9044), (9044, 4522, 12790, 6395)
_SCALES = torch.tensor([7280, 6395, 6395, 9044, 9044, 7280], dtype=torch.float64) / (1 << _BITS)
"""What the second pass makes of a sum of B."""
_FROM_KERNEL = torch.tensor(
    [[1, 0, 0]]
    + [[1 / f, p / f, p * p / f] for p, f in ((_R, -1.5), (-_R, -1.5), (2 * _R, 6.0), (-2 * _R, 6.0))]
    + [[0, 0, _R]],
    dtype=torch.float64,
)
"""G; the last row as A^T below wants it."""
_TO_OUTPUTS = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 4]], dtype=torch.float64
)
_KERNEL_TO_U = (torch.kron(_FROM_KERNEL, _FROM_KERNEL) / _SCALES.repeat(READ)[:, None]).T.contiguous()
_POSITIVE = torch.tensor([2.0, 1 + _R, 2 * _R + 1], dtype=torch.float64)  # sums of the factors of B of one sign
_NEGATIVE = torch.tensor([2.5, 2 + 2 * _R, _R + 0.5], dtype=torch.float64)
MOST_SPREAD = 32_700  # of the first pass; the second one adds rounding to it
_SPREAD_ERROR = 4.0  # of V
_OUTPUTS = 8  # at a time, which stay in a cache
_ROOM = 0.7  # part of 2^31 that sums may take before V and U are rounded


@dataclass(frozen=True)
class LargeTiles:
    """A layer's weights in this form: int16 (O, I, 6, 6); bias and multiplier: int32 (7, O), of each exponent."""

    weight: Tensor
    bias: Tensor
    multiplier: Tensor

    def negative_multiplier(self, leaky: bool) -> Tensor:
        return leaky_multiplier(self.multiplier) if leaky else self.multiplier

    @classmethod
    def make(cls, weight: Tensor, bias: Tensor, multiplier: Tensor, low: int, high: int) -> LargeTiles | None:
        """The form of a layer (O, I, 3, 3) of inputs from low to high, None if integers could leave their range.

        weight and bias, float64, need not be integers; multiplier: as in IntegerLayer.
        """
        spread = largest_spread(low, high)
        if spread > MOST_SPREAD:
            return None
        largest = largest_sum(weight, bias, low, high) * 2.0 ** ((EXPONENTS - 1) / 2)
        parts = zip(weight.split(_OUTPUTS), largest.split(_OUTPUTS), strict=True)
        made = [_transformed(*part, spread) for part in parts]
        rounded, scale, most = (torch.cat(one) for one in zip(*made, strict=True))
        steps = 2.0 ** (torch.arange(EXPONENTS, dtype=torch.float64) / 2)[:, None]
        multipliers = torch.round(multiplier.double() / (scale * steps))
        multiplies = 1 <= float(multipliers.min()) <= float(multipliers.max()) < 2.0**31
        if not (multiplies and float(most.max()) < 2.0**31 - 1):
            return None
        return cls(rounded, torch.round(bias * scale * steps).to(torch.int32), multipliers.to(torch.int32))

    def apply(self, values: Tensor, leaky: bool) -> Tensor:
        """The definition: integers (B, I, H, W) -> what the layer makes of them before any sum, int64 (B, O, H, W)."""
        batch, _, height, width = values.shape
        products = torch.einsum("ocyx,bchwyx->bohwyx", self.weight.double(), _spread(values).double())
        sums = torch.einsum("iy,bohwyx,jx->bohwij", _TO_OUTPUTS, products, _TO_OUTPUTS).long()
        exponents = torch.arange(SIDE)[:, None] + torch.arange(SIDE)

        def of_outputs(numbers: Tensor) -> Tensor:
            return numbers.long()[exponents].permute(2, 0, 1)[:, None, None]

        sums = sums + of_outputs(self.bias)
        factor = torch.where(sums < 0, of_outputs(self.negative_multiplier(leaky)), of_outputs(self.multiplier))
        result = (sums * factor + (1 << (MULTIPLIER_BITS - 1))) >> MULTIPLIER_BITS
        rows, columns = SIDE * result.shape[2], SIDE * result.shape[3]
        return result.permute(0, 1, 2, 4, 3, 5).reshape(batch, -1, rows, columns)[..., :height, :width]


def _transformed(weight: Tensor, largest: Tensor, spread: float) -> tuple[Tensor, Tensor, Tensor]:
    """U (O, I, 6, 6) int16 of some outputs whose sums reach `largest`; its scale k, and what sums reach then, (O,)."""
    outputs, inputs = weight.shape[:2]
    kernels = (weight.reshape(-1, 9) @ _KERNEL_TO_U).view(outputs, -1)
    most = torch.maximum(kernels.amax(1), -kernels.amin(1)).clamp_min(1e-30)
    scale = torch.minimum(_ROOM * 2.0**31 / largest.clamp_min(1), (2.0**15 - 1) / most)
    kernels *= scale[:, None]
    rounded = torch.round(kernels)
    errors = kernels.sub_(rounded).view(outputs, inputs, -1).abs_().sum(1) * spread
    errors += rounded.view(outputs, inputs, -1).abs().sum(1) * _SPREAD_ERROR
    at_outputs = torch.kron(_TO_OUTPUTS, _TO_OUTPUTS).abs()
    reached = largest * scale + (errors @ at_outputs.T).amax(1)
    return rounded.to(torch.int16).view(outputs, inputs, READ, READ), scale, reached


def largest_spread(low: float, high: float) -> float:
    """What no sum of the first pass exceeds in magnitude, rounding included, for inputs from low <= 0 to high >= 0."""
    above, below = _POSITIVE * high - _NEGATIVE * low, _NEGATIVE * high - _POSITIVE * low
    return float(torch.maximum(above, below).max()) + 2


def _spread(values: Tensor) -> Tensor:
    """(B, C, H, W) -> V of the tiles, int64 (B, C, ceil(H / 4), ceil(W / 4), 6, 6)."""
    bottom, right = -values.shape[2] % SIDE, -values.shape[3] % SIDE
    tiles = F.pad(values.long(), (1, 1 + right, 1, 1 + bottom)).unfold(2, READ, SIDE).unfold(3, READ, SIDE)
    return _second_pass(_first_pass(tiles.unbind(4)).unbind(5))


def _times(values: Tensor, factor: int) -> Tensor:
    return (values * factor + (1 << (_BITS - 1))) >> _BITS


def _first_pass(d: tuple[Tensor, ...]) -> Tensor:
    half, r = 1 << (_BITS - 1), round(_R * (1 << _BITS))
    even, odd = d[4] - 2 * d[2], _times(d[3] - 2 * d[1], r)
    evens, odds = d[4] - _times(d[2], half), _times(2 * d[3] - d[1], r)
    first, last = (a + c - 2 * b - _times(b, half) for a, b, c in (d[0::2], d[1::2]))
    return torch.stack([first, even + odd, even - odd, evens + odds, evens - odds, last], 4)


def _second_pass(d: tuple[Tensor, ...]) -> Tensor:
    first, last = (_times(a, _OUTER[0]) + _times(c, _OUTER[0]) - _times(b, _OUTER[1]) for a, b, c in (d[0::2], d[1::2]))
    sums = []
    for factors in (_SMALL, _LARGE):
        even = _times(d[4], factors[0]) - _times(d[2], factors[1])
        odd = _times(d[3], factors[2]) - _times(d[1], factors[3])
        sums += [even + odd, even - odd]
    return torch.stack([first, *sums, last], 5)
