"""The tables of the lane format, derived from 16-bit CDF tables by integer arithmetic alone (docs/format.md).

Bin 0 of a lane table is the escape. Bins 1 to `count` stand for 2**extra consecutive values each, from `low` on; within
a bin the values are equally likely and cost `extra` bits. Narrow tables get more precision, because most of their
symbols cost a small fraction of a bit; wide ones share bins, so that a decoder can look symbols up directly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

MAX_EXTRA = 4
# A decoder packs frequency, position in the bin (precision bits each) and bin number into 32 bits.
MAX_COUNT = {12: 255, 13: 63, 14: 15, 15: 3}
# Peak probabilities, in 128ths, from which a table gets one more bit of precision.
PEAK_SHARES = (64, 112, 127)
LOG2_SHIFT = 16


@dataclass(frozen=True)
class LaneTables:
    """Arrays over the K tables; all integers are int32 and read-only."""

    precision: np.ndarray  # (K,) 12 to 15; precision + extra <= 16
    extra: np.ndarray  # (K,) 0 to 4
    low: np.ndarray  # (K,) smallest value with a bin
    count: np.ndarray  # (K,) bins other than the escape, >= 1
    row: np.ndarray  # (K + 1,) where each table starts in `cdf`
    cdf: np.ndarray  # concatenated: 0, ..., 2**precision; count + 2 entries each, strictly increasing

    @classmethod
    def derive(cls, cdf: np.ndarray, length: np.ndarray, offset: np.ndarray, precision: int) -> LaneTables:
        rows = [_derive_row(np.diff(c[:n].astype(np.int64)), precision) for c, n in zip(cdf, length, strict=True)]
        bits, extra, first, tables = zip(*rows, strict=True)
        sizes = np.array([len(t) for t in tables])
        return cls(
            precision=_frozen(bits),
            extra=_frozen(extra),
            low=_frozen(np.asarray(first) + offset),
            count=_frozen(sizes - 2),
            row=_frozen(np.concatenate([[0], np.cumsum(sizes)])),
            cdf=_frozen(np.concatenate(tables)),
        )

    @cached_property
    def high(self) -> np.ndarray:
        """(K,) largest value with a bin."""
        return _frozen(self.low + (self.count << self.extra) - 1)

    @cached_property
    def slots(self) -> tuple[np.ndarray, np.ndarray]:
        """The bin of every slot, tables concatenated (int64), and where each table starts: a direct decoding table."""
        parts = [
            np.repeat(np.arange(self.count[k] + 1), np.diff(self.cdf[self.row[k] : self.row[k + 1]]))
            for k in range(len(self.low))
        ]
        return np.concatenate(parts), np.concatenate([[0], np.cumsum(1 << self.precision.astype(np.int64))])

    @cached_property
    def loop_rows(self) -> list[tuple[list[int], int, int, int, int]]:
        """Per table: CDF, precision and its mask, extra bits and their mask, as Python integers."""
        return [
            (self.cdf[self.row[k] : self.row[k + 1]].tolist(), bits, (1 << bits) - 1, extra, (1 << extra) - 1)
            for k, (bits, extra) in enumerate(zip(self.precision.tolist(), self.extra.tolist(), strict=True))
        ]

    @cached_property
    def entropy(self) -> np.ndarray:
        """(K,) int64: expected bits of one symbol, in units of 2**-16 bit; steers the number of lanes."""
        out = np.empty(len(self.low), np.int64)
        for k, bits in enumerate(self.precision.tolist()):
            f = np.diff(self.cdf[self.row[k] : self.row[k + 1]].astype(np.int64))
            out[k] = (int((f * ((bits << LOG2_SHIFT) - log2_fixed(f))).sum()) >> bits) + (
                int(self.extra[k]) << LOG2_SHIFT
            )
        return out

    @cached_property
    def min_bits(self) -> np.ndarray:
        """(K,) float64. Decoding a symbol of frequency f takes the state x to x - q (2**P - f) - ..., q = x >> P, and
        q is at least 2**(16 - P), so that x shrinks at least by the factor 1 - q / (q + 1) * (1 - f / 2**P)."""
        out = np.empty(len(self.low), np.float64)
        for k, bits in enumerate(self.precision.tolist()):
            share = float(np.diff(self.cdf[self.row[k] : self.row[k + 1]]).max()) / (1 << bits)
            q = 1 << (16 - bits)
            out[k] = -np.log2(1 - q / (q + 1) * (1 - share)) + float(self.extra[k])
        return out


def log2_fixed(values: np.ndarray) -> np.ndarray:
    """floor(2**16 log2 v) for integers v in [1, 2**15]. Apart from powers of two, no such product comes nearer to an
    integer than 2e-6, so float64 gives the exact floor everywhere."""
    return np.floor(np.log2(values.astype(np.float64)) * (1 << LOG2_SHIFT) + 1e-7).astype(np.int64)


def _derive_row(frequencies: np.ndarray, precision: int) -> tuple[int, int, int, np.ndarray]:
    """Precision, extra bits, index of the first kept symbol and CDF, from the frequencies of one table."""
    total = 1 << precision
    regular = frequencies[:-1]
    peak = int(regular.max())
    extra = 0
    while len(regular) > MAX_COUNT[12] << extra and extra < MAX_EXTRA:
        extra += 1
    # Symbols at the ends that are rarer than 3 in 65536 leave the table for the escape: a bin costs all others more.
    kept = np.flatnonzero((regular << extra) << 16 >= 3 * total)
    first, last = (int(kept[0]), int(kept[-1])) if len(kept) else (int(regular.argmax()),) * 2
    while last - first + 1 > MAX_COUNT[12] << extra:
        if regular[first] < regular[last]:
            first += 1
        else:
            last -= 1
    width = last - first + 1
    while extra and width <= MAX_COUNT[12] << (extra - 1):
        extra -= 1
    bits = 12 + sum(peak << 7 >= share * total for share in PEAK_SHARES)
    while width > MAX_COUNT[bits] << extra or bits + extra > 16:
        bits -= 1
    count = (width + (1 << extra) - 1) >> extra
    weights = np.zeros(count << extra, np.int64)
    weights[:width] = regular[first : last + 1]
    bins = np.concatenate([[total - weights.sum()], weights.reshape(count, -1).sum(1)])
    cumulative = np.concatenate([[0], np.cumsum(bins)])
    steps = np.arange(count + 2)
    return bits, extra, first, steps + cumulative * ((1 << bits) - (count + 1)) // total


def _frozen(values: object) -> np.ndarray:
    out = np.ascontiguousarray(values, dtype=np.int32)
    out.setflags(write=False)
    return out
