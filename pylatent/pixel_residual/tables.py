"""The tables that residuals are coded with: 49 scales of 5 shapes, made by integer arithmetic alone.

p(k) ~ t^|k| / (1 + c t^|k|)^2      c = 1: logistic, c = 0: Laplace, c < 0: with a higher peak
"""

from __future__ import annotations

from functools import cache

import numpy as np

from pylatent.coding.tables import CdfTables

SHAPES = (-3, -2, 0, 2, 4)  # 4 c
OCTAVES = 16  # of t / (1 - t), from 2^-9 on
LARGEST = 255
_THIRDS = (1024, 1290, 1625)  # 2^10 2^(i / 3)
_TOTAL = 1 << 16
_ONE_BITS = 30
COST_BITS = 16


def _ratios() -> list[int]:
    """t of every scale, times 2^16."""
    ratios = []
    for number in range(3 * OCTAVES + 1):
        odds = _THIRDS[number % 3] << number // 3  # over 2^19
        ratios.append((odds << 16) // (odds + (1 << 19)))
    return ratios


def _frequencies(ratio: int, shape: int) -> list[int]:
    """Of 0, 1, 2, … up to the last value that has at least 2 of 2^16."""
    weights, power = [], 1 << _ONE_BITS
    for _ in range(LARGEST + 1):
        below = (1 << _ONE_BITS + 2) + shape * power  # 4 (1 + c t^k)
        weights.append((power << 2 * _ONE_BITS + 4) // (below * below))
        power = power * ratio >> 16
    total = weights[0] + 2 * sum(weights[1:])
    frequencies = [weight * _TOTAL // total for weight in weights]
    return frequencies[: max(1, sum(f >= 2 for f in frequencies))]


@cache
def tables() -> CdfTables:
    """Table 5 i + j is of scale i and shape j."""
    rows, offsets = [], []
    for ratio in _ratios():
        for shape in SHAPES:
            half = _frequencies(ratio, shape)
            row = half[:0:-1] + half
            escape = max(1, (_TOTAL - sum(row)) // 2)
            row[len(half) - 1] += _TOTAL - escape - sum(row)
            rows.append(np.concatenate([[0], np.cumsum([*row, escape])]))
            offsets.append(1 - len(half))
    lengths = [len(row) for row in rows]
    return CdfTables.from_flat(np.concatenate(rows), np.array(lengths), np.array(offsets))


@cache
def costs() -> np.ndarray:
    """(T, 2 LARGEST + 1) int64: bits of every value from -LARGEST on in every table, times 2^16, nearly."""
    lanes = tables().lanes
    values = np.arange(-LARGEST, LARGEST + 1)
    out = np.empty((tables().num_tables, len(values)), np.int64)
    for number, row in enumerate(out):
        bits, extra, low, count = (int(part[number]) for part in (lanes.precision, lanes.extra, lanes.low, lanes.count))
        cdf = lanes.cdf[lanes.row[number] : lanes.row[number + 1]]
        bins = (values - low >> extra) + 1
        escaped = (bins < 1) | (bins > count)
        size = bits - np.log2(np.diff(cdf)[np.where(escaped, 0, bins)]) + np.where(escaped, 8, extra)
        row[:] = np.round(size * (1 << COST_BITS))
    return out
