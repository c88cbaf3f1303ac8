"""Streams of the lane format in Python: the header, the split into segments, and how many lanes to use."""

from __future__ import annotations

import numpy as np

from pylatent.coding._lane_tables import LOG2_SHIFT, LaneTables
from pylatent.coding._lanes import append_varint, decode_segment, encode_segment, read_varint
from pylatent.errors import FormatError

MAX_LANES_LOG2 = 6
ESCAPES, SEGMENTS = 8, 16
SAMPLES = 4096
# A lane costs about 24 bits: one per 24000 bits keeps that below 0.1 %. A segment of 2**21 bits feeds 64 lanes.
BITS_PER_LANE = 24000
BITS_PER_SEGMENT = 1 << 21
MAX_SEGMENTS = 256


def plan(indexes: np.ndarray, tables: LaneTables) -> tuple[int, int]:
    """log2 of the number of lanes, and the number of segments, from the expected size of a sample of the symbols."""
    n = len(indexes)
    sample = indexes[:: n // SAMPLES | 1]
    bits = int(tables.entropy[sample].sum()) // len(sample) * n >> LOG2_SHIFT
    segments = min(max(bits // BITS_PER_SEGMENT, 1), MAX_SEGMENTS, n)
    lanes_log2 = min(max((bits // segments // BITS_PER_LANE).bit_length() - 1, 0), MAX_LANES_LOG2)
    return lanes_log2, segments


def encode_stream(symbols: np.ndarray, indexes: np.ndarray, tables: LaneTables) -> bytes:
    n = len(indexes)
    if n == 0:
        return b"\0"
    lanes_log2, segments = plan(indexes, tables)
    cuts = [slice(n * i // segments, n * (i + 1) // segments) for i in range(segments)]
    parts = [encode_segment(symbols[here], indexes[here], tables, 1 << lanes_log2) for here in cuts]
    escapes = any(e for _, e in parts)
    out = bytearray([lanes_log2 | (ESCAPES if escapes else 0) | (SEGMENTS if segments > 1 else 0)])
    bodies = []
    for coded, escaped in parts:
        head = bytearray()
        if escapes:
            append_varint(head, len(escaped))
        bodies.append(bytes(head) + coded + escaped)
    if segments > 1:
        append_varint(out, segments)
        for body in bodies[:-1]:
            append_varint(out, len(body))
    return bytes(out) + b"".join(bodies)


def decode_stream(data: bytes, indexes: np.ndarray, tables: LaneTables) -> np.ndarray:
    n = len(indexes)
    if n == 0:
        if data != b"\0":
            raise FormatError(f"a stream of no symbols must be one zero byte, got {len(data)} bytes")
        return np.empty(0, np.int64)
    if not data:
        raise FormatError("the stream is empty")
    head, at = data[0], 1
    if head & 7 > MAX_LANES_LOG2 or head >> 5:
        raise FormatError(f"the first byte of the stream is {head}, which this version does not know")
    lengths: list[int] = []
    if head & SEGMENTS:
        segments, at = read_varint(data, at)
        if not 2 <= segments <= min(MAX_SEGMENTS, n):
            raise FormatError(f"the stream declares {segments} segments for {n} symbols")
        for _ in range(segments - 1):
            length, at = read_varint(data, at)
            lengths.append(length)
    lengths.append(len(data) - at - sum(lengths))
    if lengths[-1] < 0:
        raise FormatError("the segments are longer than the stream")
    out = np.empty(n, np.int64)
    for i, length in enumerate(lengths):
        here = slice(n * i // len(lengths), n * (i + 1) // len(lengths))
        body, at = data[at : at + length], at + length
        escaped, start = read_varint(body, 0) if head & ESCAPES else (0, 0)
        if escaped > len(body) - start:
            raise FormatError("the escapes are longer than their segment")
        end = len(body) - escaped
        out[here] = decode_segment(body[start:end], body[end:], indexes[here], tables, 1 << (head & 7))
    return out
