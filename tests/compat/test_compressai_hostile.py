"""Damaged, foreign and random bytes: every one raises FormatError or decodes to symbols; none crashes or hangs."""

import contextlib

import numpy as np
import pytest
from compressai_cases import gaussian_symbols, gaussian_tables, load_golden

from pylatent.coding.tables import CdfTables
from pylatent.compat.compressai import RansDecoder, RansEncoder
from pylatent.errors import FormatError


@pytest.fixture(scope="module")
def gaussian():
    return CdfTables(*gaussian_tables())


def test_flipped_bits(gaussian):
    """CompressAI decodes all of these to something.

    The final state gives nearly all of them away: only a bit that chooses among bins of equal frequency (the digits of
    an escape, two bins far out in a wide table) changes one symbol and nothing else.
    """
    symbols, indexes = gaussian_symbols(2000, seed=1)
    stream = RansEncoder().encode_with_indexes(symbols, indexes, gaussian)
    rng = np.random.default_rng(0)
    survivors = []
    for _ in range(2000):
        damaged = bytearray(stream)
        damaged[rng.integers(len(stream))] ^= 1 << rng.integers(8)
        with contextlib.suppress(FormatError):
            survivors.append(RansDecoder().decode_with_indexes(damaged, indexes, gaussian))
    assert len(survivors) < 20
    assert all((survivor != symbols).sum() == 1 for survivor in survivors)


def test_random_bytes(gaussian):
    rng = np.random.default_rng(1)
    for _ in range(500):
        data = rng.bytes(int(rng.integers(0, 60)))
        with pytest.raises(FormatError):
            RansDecoder().decode_with_indexes(data, rng.integers(0, 64, 300), gaussian)


def test_damaged_golden_streams():
    """Every escape-heavy and multi-table stream with a word replaced, in the streaming decoder, which checks no end."""
    rng = np.random.default_rng(2)
    outcomes = set()
    for case, stream in load_golden()[0]:
        words = np.frombuffer(stream, "<u4").copy()
        words[rng.integers(len(words))] = rng.integers(2**32)
        decoder = RansDecoder()
        try:
            decoder.set_stream(words.tobytes())
            for segment in case:
                assert len(decoder.decode_stream(segment.indexes, *segment.tables)) == len(segment.indexes)
            outcomes.add("symbols")
        except FormatError:
            outcomes.add("refused")
    assert outcomes == {"symbols", "refused"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s[:-4], "ends at symbol|state"),
        (lambda s: s[:7], "at least 8 bytes and a multiple of 4, got 7"),
        (lambda s: s[:-1], "multiple of 4"),
        (lambda s: b"", "at least 8 bytes and a multiple of 4, got 0"),
        (lambda s: s + bytes(4), "4 bytes are left after the last symbol"),
        (lambda s: bytes(4) + s, "impossible coder state|ends at|escape|state"),
        (lambda s: bytes(len(s)), "impossible coder state"),
        (lambda s: b"\xff" * len(s), "impossible coder state"),
    ],
)
def test_cut_and_extended(gaussian, change, message):
    symbols, indexes = gaussian_symbols(300, seed=3)
    stream = RansEncoder().encode_with_indexes(symbols, indexes, gaussian)
    with pytest.raises(FormatError, match=message):
        RansDecoder().decode_with_indexes(change(stream), indexes, gaussian)


def test_too_few_and_too_many_symbols(gaussian):
    symbols, indexes = gaussian_symbols(300, seed=3)
    stream = RansEncoder().encode_with_indexes(symbols, indexes, gaussian)
    with pytest.raises(FormatError, match="left after the last symbol"):
        RansDecoder().decode_with_indexes(stream, indexes[:200], gaussian)
    with pytest.raises(FormatError, match=r"ends at symbol 3\d\d of 1000000"):
        RansDecoder().decode_with_indexes(stream, np.resize(indexes, 10**6), gaussian)


def test_endless_escape_count():
    """A count of 15 would go on in CompressAI's format, for a value of more than 60 bits."""
    state = (1 << 40) | (15 << 16) | 65535  # the last slot is the escape; then a unit of 15
    stream = state.to_bytes(8, "little") + b"\xff" * 400
    with pytest.raises(FormatError, match="an escape of more than 8 nibbles at symbol 0 of 1"):
        RansDecoder().decode_with_indexes(stream, [0], [[0, 40000, 65535, 65536]], [4], [0])
