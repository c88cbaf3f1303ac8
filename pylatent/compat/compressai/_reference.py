"""CompressAI's rANS stream in plain Python: the oracle of the native coder, and the fallback of a pure install.

One 64-bit state x in [2^31, 2^63), 32-bit little-endian words, 16-bit probabilities. Putting a bin of interval
[s, s + f) gives x // f * 2^16 + x % f + s, after moving the low word of x to the output if x >= f * 2^47. The last bin
of a table announces an escape: a count of nibbles and that many nibbles, least significant first. A nibble v is put in
the same way with 4 bits: x * 16 + v, after moving a word if x >= 2^59. Symbols are put last to first; the stream is
[low(x), high(x), words], everything read forwards.

The names and arguments are those of `pylatent._C.compat`, so that either module can stand for the other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from pylatent.errors import FormatError

LOWER = 1 << 31
WORD = (1 << 32) - 1
MAX_NIBBLES = 8


class Tables:
    """Row k is `values[row_begin[k]:row_begin[k + 1]]`, of which the first `sizes[k]` entries count; all int arrays."""

    def __init__(self, values: np.ndarray, row_begin: np.ndarray, sizes: np.ndarray, offsets: np.ndarray) -> None:
        rows = len(row_begin) - 1
        if len(sizes) != rows or len(offsets) != rows:
            raise ValueError(
                f"`cdfs_sizes` and `offsets` must have one entry for each of the {rows} rows of `cdfs`, "
                f"got {len(sizes)} and {len(offsets)}"
            )
        if rows < 1:
            raise ValueError("`cdfs` must hold at least one table, got none")
        self.cdfs = [values[row_begin[k] : row_begin[k + 1]][: max(int(sizes[k]), 0)] for k in range(rows)]
        for k, cdf in enumerate(self.cdfs):
            width = int(row_begin[k + 1] - row_begin[k])
            if not 3 <= sizes[k] <= width:
                raise ValueError(
                    f"`cdfs_sizes[{k}]` must be at least 3 (a symbol, the escape and the leading 0) and at most "
                    f"the length of the row ({width}), got {sizes[k]}"
                )
            if cdf[0] != 0 or cdf[-1] != 1 << 16:
                raise ValueError(f"`cdfs[{k}]` must start at 0 and end at 65536, got {cdf[0]} and {cdf[-1]}")
            if (np.diff(cdf) <= 0).any():
                raise ValueError(f"`cdfs[{k}]` must increase strictly")
            if offsets[k] > 2**31 - 1 - (sizes[k] - 2):
                raise ValueError(f"`offsets[{k}]` must leave every symbol within int32, got {offsets[k]}")
        self.escape = sizes.astype(np.int64) - 2
        self.offset = offsets.astype(np.int64)
        self.first = np.concatenate([[0], np.cumsum(self.escape + 1)[:-1]])
        self.start = np.concatenate([cdf[:-1] for cdf in self.cdfs]).astype(np.int64)
        self.frequency = np.concatenate([np.diff(cdf) for cdf in self.cdfs]).astype(np.int64)
        self.rows: list[list[int]] = [cdf.tolist() for cdf in self.cdfs]

    def check_indexes(self, indexes: np.ndarray) -> None:
        bad = np.flatnonzero((indexes < 0) | (indexes >= len(self.rows)))
        if bad.size:
            i = int(bad[0])
            raise IndexError(
                f"`indexes[{i}]` must be in [0, {len(self.rows)}), the number of tables, got {indexes.flat[i]}"
            )


def _resolve(symbols: np.ndarray, indexes: np.ndarray, tables: Tables) -> list[tuple[int, int, int]]:
    """(start, frequency, escape value or -1) of every symbol."""
    if symbols.size != indexes.size:
        raise ValueError(f"`indexes` must be as long as `symbols` ({symbols.size}), got {indexes.size}")
    symbols, indexes = symbols.reshape(-1), indexes.reshape(-1)
    tables.check_indexes(indexes)
    v = symbols.astype(np.int64) - tables.offset[indexes]
    escape = tables.escape[indexes]
    raw = np.where(v < 0, -2 * v - 1, np.where(v >= escape, 2 * (v - escape), -1))
    far = np.flatnonzero(raw > WORD)
    if far.size:
        i = int(far[0])
        raise ValueError(
            f"`symbols[{i}]` lies too far outside its table: the escape of {symbols[i]} needs more than 32 bits"
        )
    at = tables.first[indexes] + np.where(raw >= 0, escape, v)
    return list(zip(tables.start[at].tolist(), tables.frequency[at].tolist(), raw.tolist(), strict=True))


def _code(resolved: list[tuple[int, int, int]]) -> bytes:
    x = LOWER
    words: list[int] = []

    def put(start: int, frequency: int, bits: int) -> None:
        nonlocal x
        if x >= frequency << 63 - bits:
            words.append(x & WORD)
            x >>= 32
        x = (x // frequency << bits) + x % frequency + start

    for start, frequency, raw in reversed(resolved):
        if raw >= 0:
            nibbles = (raw.bit_length() + 3) // 4
            for j in reversed(range(nibbles)):
                put(raw >> 4 * j & 15, 1, 4)
            put(nibbles, 1, 4)
        put(start, frequency, 16)
    words += [x >> 32, x & WORD]
    return np.array(words[::-1], dtype="<u4").tobytes()


def encode_batch(symbols: np.ndarray, indexes: np.ndarray, count: int, tables: Tables, threads: int) -> list[bytes]:
    """`symbols` and `indexes` hold `count` equal streams one after the other. `threads` is not used."""
    resolved = _resolve(symbols, indexes, tables)
    n = len(resolved) // count if count else 0
    return [_code(resolved[b * n : (b + 1) * n]) for b in range(count)]


def decode_batch(data: Sequence[bytes], indexes: np.ndarray, symbols: np.ndarray, tables: Tables, threads: int) -> None:
    """The inverse: fills `symbols`, and checks that every stream ends where it should. `threads` is not used."""
    if not len(data):
        return
    for stream, row, out in zip(data, indexes.reshape(len(data), -1), symbols.reshape(len(data), -1), strict=True):
        decoder = Decoder(stream)
        decoder.decode(row, out, tables)
        decoder.expect_end()


class Encoder:
    """Collects the symbols of several calls, each with its own tables, for one stream."""

    def __init__(self) -> None:
        self._resolved: list[tuple[int, int, int]] = []

    def append(self, symbols: np.ndarray, indexes: np.ndarray, tables: Tables) -> None:
        self._resolved += _resolve(symbols, indexes, tables)

    def flush(self) -> bytes:
        resolved, self._resolved = self._resolved, []
        return _code(resolved)


class Decoder:
    def __init__(self, data: bytes) -> None:
        if len(data) < 8 or len(data) % 4:
            raise FormatError(f"a stream has at least 8 bytes and a multiple of 4, got {len(data)}")
        self._words: list[int] = np.frombuffer(data, "<u4").tolist()
        self._x = self._words[0] | self._words[1] << 32
        self._next = 2
        if not LOWER <= self._x < 1 << 63:
            raise FormatError("the stream starts with an impossible coder state (outside [2^31, 2^63))")

    def decode(self, indexes: np.ndarray, symbols: np.ndarray, tables: Tables) -> None:
        symbols.reshape(-1)[:] = self.decode_list(indexes.reshape(-1).tolist(), tables)

    def decode_list(self, indexes: list[int], tables: Tables) -> list[int]:
        tables.check_indexes(np.asarray(indexes, dtype=np.int64))
        escapes, offsets = tables.escape.tolist(), tables.offset.tolist()
        x, at, words = self._x, self._next, self._words
        n, i = len(indexes), 0

        def take(start: int, frequency: int, bits: int) -> None:
            nonlocal x, at
            x = frequency * (x >> bits) + (x & (1 << bits) - 1) - start
            if x < LOWER:
                if at == len(words):
                    raise FormatError(f"the stream ends at symbol {i} of {n}")
                x = x << 32 | words[at]
                at += 1

        def unit() -> int:
            value = x & 15
            take(value, 1, 4)
            return value

        out = []
        for i, k in enumerate(indexes):  # take() names i in its message
            row = tables.rows[k]
            v = bisect_right(row, x & 0xFFFF) - 1
            take(row[v], row[v + 1] - row[v], 16)
            if v == escapes[k]:
                nibbles = unit()
                if nibbles > MAX_NIBBLES:
                    raise FormatError(f"an escape of more than 8 nibbles at symbol {i} of {n}")
                raw = sum(unit() << 4 * j for j in range(nibbles))
                v = -(raw >> 1) - 1 if raw & 1 else (raw >> 1) + escapes[k]
                if not -(2**31) <= v + offsets[k] < 2**31:
                    raise FormatError(f"an escape beyond the range of int32 at symbol {i} of {n}")
            out.append(v + offsets[k])
        self._x, self._next = x, at
        return out

    def expect_end(self) -> None:
        if self._next != len(self._words):
            raise FormatError(f"{4 * (len(self._words) - self._next)} bytes are left after the last symbol")
        if self._x != LOWER:
            raise FormatError(
                "the coder state after the last symbol is wrong: the bytes are damaged, or were written with other "
                "tables or indexes"
            )


def ints(sequence: list | tuple, name: str) -> np.ndarray:
    """Python integers as an int32 array."""
    if not isinstance(sequence, list | tuple):
        raise TypeError(f"`{name}` must be a list of integers, got {type(sequence).__name__}")
    array = np.array(sequence, dtype=object)
    for i, value in enumerate(array.tolist()):
        if not hasattr(value, "__index__"):
            raise TypeError(f"`{name}[{i}]` must be an integer, got {type(value).__name__}")
        if not -(2**31) <= value < 2**31:
            raise ValueError(f"`{name}[{i}]` must fit a 32-bit integer, got {value}")
    return array.astype(np.int32)


def flatten_rows(rows: list | tuple) -> tuple[np.ndarray, np.ndarray]:
    """A list of lists as its values one after the other, and where each row begins."""
    arrays = [ints(row, "cdfs row") for row in rows]
    begin = np.cumsum([0] + [len(a) for a in arrays], dtype=np.int64)
    return np.concatenate([np.empty(0, np.int32), *arrays]), begin


def to_list(values: np.ndarray) -> list[int]:
    return values.reshape(-1).tolist()


def quantize_pmf(pmf: np.ndarray, precision: int) -> np.ndarray:
    from pylatent.coding.tables import quantize_pmf as reference

    return reference(pmf, precision)
