"""Integer CDF tables: what the entropy coder needs to know of a probability model, and nothing else.

A table gives the cumulative frequencies of consecutive integer symbols, the first of which is `offset`, plus one last
bin, the escape, for every other integer. The meaning of the arrays is that of CompressAI's `_quantized_cdf`,
`_cdf_length` and `_offset` buffers, so those can be passed unchanged. Tables travel with the weights of a model and are
never rebuilt when decoding: floating point differs between machines in the last bits, integers do not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
import torch

from pylatent import _native
from pylatent.coding._lane_tables import LaneTables

OFFSET_LIMIT = 1 << 30
MAX_TABLES = 1 << 16


class CdfTables:
    """K validated, immutable CDF tables.

    cdf: (K, W) integers; row k holds `length[k]` valid entries, 0 first, strictly increasing, 2**precision last.
        What stands right of the valid entries is ignored. Array, tensor or nested list.
    length: (K,) number of valid entries of each row, at least 3 (one symbol and the escape).
    offset: (K,) value of the first symbol of each table.
    precision: bits of the frequencies, 2 to 16.

    Raises ValueError: an argument has the wrong shape, or a table breaks one of these rules; the message names the row.
    """

    def __init__(self, cdf: Any, length: Any, offset: Any, *, precision: int = 16) -> None:
        rows = _integers("cdf", cdf, 2)
        sizes = _integers("length", length, 1)
        starts = _integers("offset", offset, 1)
        if not 2 <= precision <= 16:
            raise ValueError(f"`precision` must be between 2 and 16, got {precision}")
        count = len(rows)
        if not 1 <= count <= MAX_TABLES:
            raise ValueError(f"`cdf` must hold between 1 and {MAX_TABLES} tables, got {count}")
        for name, values in (("length", sizes), ("offset", starts)):
            if values.shape != (count,):
                raise ValueError(f"`{name}` must have shape ({count},) like the rows of `cdf`, got {values.shape}")
        _check_rows(rows, sizes, starts, 1 << precision)
        valid = np.arange(rows.shape[1]) < sizes[:, None]
        self.precision = precision
        self.cdf = _frozen(np.where(valid, rows, 0))
        self.length = _frozen(sizes)
        self.offset = _frozen(starts)

    @property
    def num_tables(self) -> int:
        return len(self.length)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of precision, number of tables, lengths, offsets and valid entries, each a little-endian int32."""
        head = np.array([self.precision, self.num_tables])
        parts = np.concatenate([head, self.length, self.offset, self.flat()])
        return hashlib.sha256(parts.astype("<i4").tobytes()).digest()

    @property
    def min_bits(self) -> np.ndarray:
        """(K,) float64: a lower bound, above 0, of the bits that one symbol of each table takes in the lane format."""
        return self.lanes.min_bits

    @cached_property
    def lanes(self) -> LaneTables:
        """The tables of the lane format, which follow from these by the integer rule of docs/format.md."""
        return LaneTables.derive(self.cdf, self.length, self.offset, self.precision)

    @cached_property
    def native(self) -> Any:
        """The native core's form of `lanes`; built once."""
        t = self.lanes
        return _native.core().LaneTables(t.precision, t.extra, t.low, t.count, t.row, t.cdf, t.entropy)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is built from the tables, some of which belongs to the process."""
        return {"precision": self.precision, "cdf": self.cdf, "length": self.length, "offset": self.offset}

    def __setstate__(self, state: dict[str, Any]) -> None:
        frozen = {name: _frozen(value) for name, value in state.items() if name != "precision"}
        self.__dict__.update(state | frozen)

    def __deepcopy__(self, memo: Any) -> CdfTables:
        return self  # immutable

    def flat(self) -> np.ndarray:
        """The valid entries of all rows, concatenated: int32, 1-D, `sum(length)` long."""
        return self.cdf[np.arange(self.cdf.shape[1]) < self.length[:, None]]

    @classmethod
    def from_flat(cls, flat: Any, length: Any, offset: Any, *, precision: int = 16) -> CdfTables:
        """Tables from `flat()`: the valid entries of all rows one after the other."""
        values = _integers("flat", flat, 1)
        sizes = _integers("length", length, 1)
        if len(sizes) == 0 or int(sizes.min()) < 0 or int(sizes.sum()) != len(values):
            raise ValueError(f"`length` must add up to the {len(values)} entries of `flat`, got {int(sizes.sum())}")
        cdf = np.zeros((len(sizes), int(sizes.max())), np.int64)
        cdf[np.arange(cdf.shape[1]) < sizes[:, None]] = values
        return cls(cdf, sizes, offset, precision=precision)

    @classmethod
    def from_pmf(cls, pmfs: Sequence[Any], offsets: Any, *, tail: Any | None = None, precision: int = 16) -> CdfTables:
        """Tables from float probabilities.

        pmfs: K 1-D arrays or tensors of probabilities, of any lengths; used in float32.
        offsets: (K,) value of the first symbol of each.
        tail: (K,) probability of the escape bin; by default what each pmf leaves to 1.
        """
        tails: list[float] = [max(0.0, 1.0 - float(np.sum(_floats(p), dtype=np.float64))) for p in pmfs]
        if tail is not None:
            tails = [float(t) for t in _floats(tail)]
            if len(tails) != len(pmfs):
                raise ValueError(f"`tail` must have {len(pmfs)} entries, one per pmf, got {len(tails)}")
        rows = [quantize_pmf(np.append(_floats(p), np.float32(t)), precision) for p, t in zip(pmfs, tails, strict=True)]
        lengths = [len(row) for row in rows]
        return cls.from_flat(np.concatenate(rows) if rows else [], lengths, offsets, precision=precision)

    @classmethod
    def gaussian(cls, scales: Any, *, tail_mass: float = 1e-9) -> CdfTables:
        """Zero-mean Gaussians of the given standard deviations, integrated over unit bins.

        Computed in float32 by the formula of CompressAI's `GaussianConditional.update()`, so that its tables result.
        """
        sigma = torch.as_tensor(scales, dtype=torch.float32, device="cpu").flatten()
        if sigma.numel() == 0 or not bool((sigma > 0).all()) or not bool(torch.isfinite(sigma).all()):
            raise ValueError("`scales` must be one or more positive finite numbers")
        # The quantile must not be rounded: 6.109 instead of 6.1094102 makes two of the usual 64 tables too short.
        centers = torch.ceil(sigma * -NormalDist().inv_cdf(tail_mass / 2)).int()
        pmfs, tails = [], []
        for scale, center in zip(sigma, centers.tolist(), strict=True):
            distance = torch.abs(torch.arange(2 * center + 1).int() - center).float()
            lower = _standard_normal_cdf((-0.5 - distance) / scale)
            pmfs.append(_standard_normal_cdf((0.5 - distance) / scale) - lower)
            tails.append(2 * lower[0])
        return cls.from_pmf(pmfs, -centers, tail=torch.stack(tails))


def quantize_pmf(pmf: Any, precision: int = 16) -> np.ndarray:
    """The CDF of a pmf in integers of `precision` bits, every bin at least 1: CompressAI's `pmf_to_quantized_cdf`.

    pmf: 1-D float32 probabilities; they need not add up to 1.

    Returns int32 of length `len(pmf) + 1`, from 0 to 2**precision.
    """
    p = _floats(pmf)
    total_range = 1 << precision
    if p.ndim != 1 or len(p) == 0:
        raise ValueError(f"`pmf` must be 1-D and not empty, got shape {p.shape}")
    if not np.isfinite(p).all() or (p < 0).any():
        raise ValueError("`pmf` must hold finite numbers that are not negative")
    if len(p) > total_range:
        raise ValueError(f"`pmf` has {len(p)} entries, more than the {total_range} that precision {precision} allows")
    scaled = (p * np.float32(total_range)).astype(np.float64)
    counts = np.floor(scaled + 0.5)
    total = counts.sum()
    if not 0 < total < 2**31:
        raise ValueError(f"`pmf` must add up to something near 1, got {float(p.sum(dtype=np.float64)):g}")
    frequencies = (counts.astype(np.int64) << precision) // int(total)
    cdf = np.concatenate([[0], np.cumsum(frequencies)])
    cdf[-1] = total_range
    _give_every_bin_one(cdf)
    return cdf.astype(np.int32)


def _give_every_bin_one(cdf: np.ndarray) -> None:
    """In place: every empty bin, from left to right, takes one unit from the smallest bin that has more than one."""
    frequencies = np.diff(cdf)
    for i in np.flatnonzero(frequencies == 0):
        donor = int(np.argmin(np.where(frequencies > 1, frequencies, np.iinfo(np.int64).max)))
        if frequencies[donor] <= 1:
            raise ValueError("the pmf cannot be quantised: no bin has a unit to give")
        frequencies[donor] -= 1
        frequencies[i] = 1
    cdf[1:] = np.cumsum(frequencies)


def _standard_normal_cdf(t: torch.Tensor) -> torch.Tensor:
    return 0.5 * torch.erfc(float(-(2**-0.5)) * t)


def _check_rows(rows: np.ndarray, sizes: np.ndarray, starts: np.ndarray, total: int) -> None:
    for k, (row, size, start) in enumerate(zip(rows, sizes, starts, strict=True)):
        if not 3 <= size <= rows.shape[1]:
            raise ValueError(f"`length[{k}]` must be between 3 and the row width {rows.shape[1]}, got {size}")
        entries = row[:size]
        if entries[0] != 0 or entries[-1] != total:
            raise ValueError(f"`cdf[{k}]` must run from 0 to {total}, got {entries[0]} to {entries[-1]}")
        if (np.diff(entries) <= 0).any():
            at = int(np.argmax(np.diff(entries) <= 0))
            raise ValueError(f"`cdf[{k}]` must increase strictly, got {entries[at]}, {entries[at + 1]} at entry {at}")
        if abs(int(start)) > OFFSET_LIMIT:
            raise ValueError(f"`offset[{k}]` must lie within ±{OFFSET_LIMIT}, got {start}")


def _integers(name: str, values: Any, ndim: int) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.ndim != ndim or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"`{name}` must be {ndim}-D integers, got shape {array.shape} of {array.dtype}")
    return array.astype(np.int64)


def _floats(values: Any) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    return array.astype(np.float32)


def _frozen(values: np.ndarray) -> np.ndarray:
    out = np.ascontiguousarray(values, dtype=np.int32)
    out.setflags(write=False)
    return out
