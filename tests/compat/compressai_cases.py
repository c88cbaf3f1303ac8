"""Random and adversarial coding jobs for CompressAI's stream, and their storage as golden files.

A case is what one stream holds: segments of symbols, indexes and tables (rows, sizes, offsets), all lists of ints. Only
jobs that CompressAI's coder survives are made: it writes beyond its buffer when a stream takes more words than it has
symbols and escape units, and hangs on escape values from 2^28 on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "compressai_golden.npz"
MAX_RAW = 2**28 - 1


@dataclass(frozen=True)
class Segment:
    symbols: list[int]
    indexes: list[int]
    cdfs: list[list[int]]
    sizes: list[int]
    offsets: list[int]

    @property
    def arguments(self) -> tuple[list[int], list[int], list[list[int]], list[int], list[int]]:
        return self.symbols, self.indexes, self.cdfs, self.sizes, self.offsets

    @property
    def tables(self) -> tuple[list[list[int]], list[int], list[int]]:
        return self.cdfs, self.sizes, self.offsets


Case = list[Segment]


def random_cases(count: int, seed: int) -> Iterator[Case]:
    """`count` cases; the same seed gives the same cases."""
    rng = np.random.default_rng(seed)
    while count:
        case = [_segment(rng) for _ in range(1 if rng.random() < 0.7 else rng.integers(2, 5))]
        if _survivable(case):
            yield case
            count -= 1


def _segment(rng: np.random.Generator) -> Segment:
    rows = [_row(rng) for _ in range(rng.integers(1, 7))]
    sizes = [len(row) for row in rows]
    width = max(sizes)
    padded = [row + [0] * (width - len(row)) for row in rows]
    offsets = rng.choice([0, -1, 1, -7, -1000, 70_000, -(2**20)], len(rows)).tolist()
    n = int(rng.choice([1, 2, 3, 10, 40, 200]))
    indexes = rng.integers(0, len(rows), n)
    escapes = float(rng.choice([0, 0.02, 0.5, 1]))
    symbols = [_symbol(rng, padded[k], sizes[k], offsets[k], escapes) for k in indexes]
    return Segment(symbols, indexes.tolist(), padded, sizes, offsets)


def _row(rng: np.random.Generator) -> list[int]:
    """A CDF: flat, peaked, or with as many bins of frequency 1 as possible."""
    kind = rng.random()
    bins = int(rng.choice([2, 3, 5, 17, 64, 300]))
    if kind < 0.1:  # one bin has nearly everything
        at = int(rng.integers(0, bins))
        return [*range(at + 1), *range(65536 - (bins - at) + 1, 65537)]
    if kind < 0.7:
        weights = rng.random(bins) ** float(rng.choice([1, 8, 30])) + 1e-12
    else:
        x = np.arange(bins) - bins / 2
        weights = np.exp(-0.5 * (x / float(rng.choice([0.2, 1, 6, 50]))) ** 2) + 1e-12
    frequencies = 1 + np.floor(weights / weights.sum() * (65536 - bins)).astype(np.int64)
    frequencies[np.argmax(frequencies)] += 65536 - frequencies.sum()
    return [0, *np.cumsum(frequencies).tolist()]


def _symbol(rng: np.random.Generator, row: list[int], size: int, offset: int, escapes: float) -> int:
    bins = size - 2
    if rng.random() >= escapes:
        if rng.random() < 0.5:
            return int(rng.integers(0, bins)) + offset
        likely = int(np.searchsorted(row[1:size], rng.integers(0, 65536), side="right"))
        return min(likely, bins - 1) + offset
    raw = MAX_RAW if rng.random() < 0.05 else int(2 ** rng.uniform(0, 28)) - 1
    return (-(raw >> 1) - 1 if raw & 1 else (raw >> 1) + bins) + offset


def _survivable(case: Case) -> bool:
    """A bound of the words of the stream against the entries of CompressAI's buffer."""
    entries, bits = 0, 0.0
    for segment in case:
        for symbol, k in zip(segment.symbols, segment.indexes, strict=True):
            row, bins = segment.cdfs[k], segment.sizes[k] - 2
            v = symbol - segment.offsets[k]
            escaped = not 0 <= v < bins
            at = bins if escaped else v
            bits += 16 - np.log2(row[at + 1] - row[at])
            entries += 1
            if escaped:
                raw = -2 * v - 1 if v < 0 else 2 * (v - bins)
                units = 1 + (raw.bit_length() + 3) // 4
                entries += units
                bits += 4 * units
    return 2 + bits / 32 < entries


def gaussian_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The 64 tables of CompressAI's pretrained models, as its buffers (cdfs, sizes, offsets)."""
    from pylatent.coding.tables import CdfTables

    tables = CdfTables.gaussian(np.exp(np.linspace(np.log(0.11), np.log(256), 64)))
    return tables.cdf, tables.length, tables.offset


def gaussian_symbols(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(symbols, indexes) as int32: latents of widely varying scale, a few of them far outside their tables."""
    rng = np.random.default_rng(seed)
    indexes = rng.integers(0, 64, n).astype(np.int32)
    scales = np.exp(np.linspace(np.log(0.11), np.log(256), 64))[indexes]
    symbols = np.round(rng.standard_normal(n) * scales)
    symbols[rng.random(n) < 0.002] *= 100
    return symbols.astype(np.int32), indexes


def save_golden(cases: list[tuple[Case, bytes]], pmfs: list[tuple[np.ndarray, int, list[int]]]) -> None:
    segments = [segment for case, _ in cases for segment in case]
    np.savez_compressed(
        GOLDEN,
        segments=np.array([len(case) for case, _ in cases], np.int32),
        streams=np.frombuffer(b"".join(stream for _, stream in cases), np.uint8),
        stream_sizes=np.array([len(stream) for _, stream in cases], np.int32),
        symbol_counts=np.array([len(s.symbols) for s in segments], np.int32),
        symbols=np.concatenate([s.symbols for s in segments]).astype(np.int32),
        indexes=np.concatenate([s.indexes for s in segments]).astype(np.uint8),
        table_counts=np.array([len(s.sizes) for s in segments], np.int32),
        sizes=np.concatenate([s.sizes for s in segments]).astype(np.int32),
        offsets=np.concatenate([s.offsets for s in segments]).astype(np.int32),
        cdfs=np.concatenate([row[:n] for s in segments for row, n in zip(s.cdfs, s.sizes, strict=True)]).astype(
            np.int32
        ),
        pmf=np.concatenate([pmf for pmf, _, _ in pmfs]),
        pmf_sizes=np.array([len(pmf) for pmf, _, _ in pmfs], np.int32),
        pmf_precisions=np.array([precision for _, precision, _ in pmfs], np.int32),
        pmf_cdfs=np.concatenate([cdf for _, _, cdf in pmfs]).astype(np.int32),
    )


def load_golden() -> tuple[list[tuple[Case, bytes]], list[tuple[np.ndarray, int, list[int]]]]:
    """What CompressAI's own coder and `pmf_to_quantized_cdf` gave, with their inputs."""
    data = np.load(GOLDEN)
    sizes = _split(data["sizes"], data["table_counts"])
    rows = iter(_split(data["cdfs"], data["sizes"]))
    segments = iter(
        [
            Segment(s.tolist(), i.tolist(), [next(rows).tolist() for _ in z], z.tolist(), o.tolist())
            for s, i, z, o in zip(
                _split(data["symbols"], data["symbol_counts"]),
                _split(data["indexes"], data["symbol_counts"]),
                sizes,
                _split(data["offsets"], data["table_counts"]),
                strict=True,
            )
        ]
    )
    streams = _split(data["streams"], data["stream_sizes"])
    cases = [([next(segments) for _ in range(n)], s.tobytes()) for n, s in zip(data["segments"], streams, strict=True)]
    pmfs = _split(data["pmf"], data["pmf_sizes"])
    cdfs = _split(data["pmf_cdfs"], data["pmf_sizes"] + 1)
    return cases, [(p, int(b), c.tolist()) for p, b, c in zip(pmfs, data["pmf_precisions"], cdfs, strict=True)]


def _split(values: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    return np.split(values, np.cumsum(counts)[:-1])
