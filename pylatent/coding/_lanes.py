"""The lane format in Python: the definition of the bytes, the oracle of the native coder, and the fallback.

One segment is coded here: symbol i belongs to lane i % lanes; lanes are rANS states in [2**16, 2**32) that share one
stream of 16-bit words. The decoder walks rows of `lanes` symbols; in each row, every lane takes its symbol, then the
lanes that fell below 2**16 read one word each, in order of lane number. The encoder does the inverse, backwards.
Many lanes are handled as NumPy vectors, few in a plain loop over integers, which is faster there.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import chain

import numpy as np

from pylatent.coding._lane_tables import LaneTables
from pylatent.errors import FormatError

LOWER = 1 << 16
VECTOR_LANES = 16


def encode_segment(symbols: np.ndarray, indexes: np.ndarray, tables: LaneTables, lanes: int) -> tuple[bytes, bytes]:
    """States and words of one segment, and its escapes.

    symbols, indexes: (n,) int64, n >= 1, indexes within the tables.
    """
    extra = tables.extra[indexes].astype(np.int64)
    bits = tables.precision[indexes].astype(np.int64)
    above = symbols - tables.low[indexes]
    escaped = (above < 0) | (above >> extra >= tables.count[indexes])
    above[escaped] = 0
    entry = tables.row[indexes] + np.where(escaped, 0, (above >> extra) + 1)
    start = tables.cdf[entry].astype(np.int64)
    frequency = tables.cdf[entry + 1] - start
    rest = above & ((1 << extra) - 1)
    columns = (frequency, start, bits, extra, rest)
    words, states = (_encode_vectors if lanes >= VECTOR_LANES else _encode_loop)(columns, lanes)
    escapes = _escape_bytes(symbols[escaped], tables.low[indexes[escaped]], tables.high[indexes[escaped]])
    return states.astype("<u4").tobytes() + words.astype("<u2").tobytes(), escapes


def decode_segment(coded: bytes, escapes: bytes, indexes: np.ndarray, tables: LaneTables, lanes: int) -> np.ndarray:
    """(n,) int64 symbols; the inverse of `encode_segment`."""
    if len(coded) < 4 * lanes or len(coded) % 2:
        raise FormatError(f"a segment of {lanes} lanes needs {4 * lanes} bytes of states and whole words")
    states = np.frombuffer(coded, "<u4", lanes).astype(np.int64)
    words = np.frombuffer(coded, "<u2", offset=4 * lanes).astype(np.int64)
    if (states < LOWER).any():
        raise FormatError("a lane starts with a state below 65536")
    decode = _decode_vectors if lanes >= VECTOR_LANES else _decode_loop
    bins, rest, states, used = decode(states, words, indexes, tables, lanes)
    if used != len(words) or (states != LOWER).any():
        raise FormatError("the last states or the length are wrong: the stream is damaged, or of another model")
    symbols = tables.low[indexes] + ((bins - 1) << tables.extra[indexes]) + rest
    escaped = np.flatnonzero(bins == 0)
    symbols[escaped] = _escape_values(escapes, tables.low[indexes[escaped]], tables.high[indexes[escaped]])
    return symbols


def _encode_vectors(columns: tuple[np.ndarray, ...], lanes: int) -> tuple[np.ndarray, np.ndarray]:
    n = len(columns[0])
    states = np.full(lanes, LOWER, np.int64)
    rows = []
    for begin in range((n - 1) // lanes * lanes, -1, -lanes):
        frequency, start, bits, extra, rest = (column[begin : begin + lanes] for column in columns)
        x = states[: len(frequency)]
        full = x >= frequency << (32 - bits - extra)
        rows.append(x[full] & 0xFFFF)
        x = (np.where(full, x >> 16, x) << extra) | rest
        states[: len(frequency)] = ((x // frequency) << bits) + x % frequency + start
    return np.concatenate(rows[::-1]), states


def _encode_loop(columns: tuple[np.ndarray, ...], lanes: int) -> tuple[np.ndarray, np.ndarray]:
    frequency, start, bits, extra, rest = columns
    limits = (frequency << (32 - bits - extra)).tolist()
    symbols = list(
        zip(frequency.tolist(), start.tolist(), bits.tolist(), extra.tolist(), rest.tolist(), limits, strict=True)
    )
    states = [LOWER] * lanes
    words = []
    for begin in range((len(symbols) - 1) // lanes * lanes, -1, -lanes):
        row = []
        for lane, (f, s, p, e, r, limit) in enumerate(symbols[begin : begin + lanes]):
            x = states[lane]
            if x >= limit:
                row.append(x & 0xFFFF)
                x >>= 16
            q, m = divmod((x << e) | r, f)
            states[lane] = (q << p) + m + s
        if row:
            words.append(row)
    return np.array(list(chain.from_iterable(reversed(words))), np.int64), np.array(states, np.int64)


_Decoded = tuple[np.ndarray, np.ndarray, np.ndarray, int]


def _decode_vectors(
    states: np.ndarray, words: np.ndarray, indexes: np.ndarray, tables: LaneTables, lanes: int
) -> _Decoded:
    n = len(indexes)
    slots, where = tables.slots
    extra_all, bits_all = tables.extra[indexes].astype(np.int64), tables.precision[indexes].astype(np.int64)
    where_all, row_all = where[indexes], tables.row[indexes].astype(np.int64)
    bins, rest = np.empty(n, np.int64), np.empty(n, np.int64)
    cdf = tables.cdf.astype(np.int64)
    used = 0
    for begin in range(0, n, lanes):
        here = slice(begin, begin + lanes)
        bits, extra = bits_all[here], extra_all[here]
        x = states[: len(bits)]
        slot = x & ((1 << bits) - 1)
        b = slots[where_all[here] + slot]
        entry = row_all[here] + b
        start = cdf[entry]
        x = (cdf[entry + 1] - start) * (x >> bits) + slot - start
        bins[here] = b
        rest[here] = x & ((1 << extra) - 1)
        x >>= extra
        low = np.flatnonzero(x < LOWER)
        if len(low):
            if used + len(low) > len(words):
                raise FormatError(f"the stream ends early: symbol {begin} of {n} finds no word to read")
            x[low] = (x[low] << 16) | words[used : used + len(low)]
            used += len(low)
        states[: len(bits)] = x
    return bins, rest, states, used


def _decode_loop(
    states: np.ndarray, words: np.ndarray, indexes: np.ndarray, tables: LaneTables, lanes: int
) -> _Decoded:
    n = len(indexes)
    params = tables.loop_rows
    x_of, word_of = states.tolist(), words.tolist()
    bins, rest = [0] * n, [0] * n
    used, available = 0, len(word_of)
    lane = 0
    for i, k in enumerate(indexes.tolist()):
        cdf, bits, mask, extra, extra_mask = params[k]
        x = x_of[lane]
        slot = x & mask
        b = bisect_right(cdf, slot) - 1
        x = (cdf[b + 1] - cdf[b]) * (x >> bits) + slot - cdf[b]
        if extra:
            rest[i] = x & extra_mask
            x >>= extra
        if x < LOWER:
            if used == available:
                raise FormatError(f"the stream ends early: symbol {i} of {n} finds no word to read")
            x = (x << 16) | word_of[used]
            used += 1
        x_of[lane] = x
        bins[i] = b
        lane = lane + 1 if lane + 1 < lanes else 0
    return np.array(bins, np.int64), np.array(rest, np.int64), np.array(x_of, np.int64), used


def _escape_bytes(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> bytes:
    """Distance beyond the table, doubled, plus one below the table; in nibbles of 3 bits, the lowest first, with the
    top bit set where another follows."""
    nibbles = []
    for value, first, last in zip(values.tolist(), low.tolist(), high.tolist(), strict=True):
        raw = 2 * (first - 1 - value) + 1 if value < first else 2 * (value - last - 1)
        while raw >= 8:
            nibbles.append(raw & 7 | 8)
            raw >>= 3
        nibbles.append(raw)
    if len(nibbles) % 2:
        nibbles.append(0)
    return bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))


def _escape_values(data: bytes, low: np.ndarray, high: np.ndarray) -> list[int]:
    nibbles = [n for byte in data for n in (byte & 15, byte >> 4)]
    values, at = [], 0
    for first, last in zip(low.tolist(), high.tolist(), strict=True):
        raw, shift = 0, 0
        while True:
            if at == len(nibbles) or shift > 30:
                raise FormatError("an escaped symbol is cut off or too long")
            nibble = nibbles[at]
            at += 1
            raw |= (nibble & 7) << shift
            shift += 3
            if nibble < 8:
                break
        value = first - 1 - (raw >> 1) if raw & 1 else last + 1 + (raw >> 1)
        if not -(1 << 31) <= value < 1 << 31 or (nibble == 0 and shift > 3):
            raise FormatError(f"an escaped symbol is {value}, which is not a 32-bit integer in its shortest form")
        values.append(value)
    if (at + 1) // 2 != len(data) or any(nibbles[at:]):
        raise FormatError(f"{len(nibbles) - at} nibbles of escapes are left over")
    return values


def append_varint(out: bytearray, value: int) -> None:
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Value and position after it; at most 5 bytes, and not longer than needed."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            raise FormatError("the stream ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if byte == 0 and shift:
                break
            return value, at
    raise FormatError("a number is longer than it needs to be")
