"""Damaged streams: refused, or decoded alike by the native core and by the reference; never anything else.

`tests/fuzz/fuzz_lanes.cpp` does the same at length, under sanitizers.
"""

import numpy as np
import pytest
import torch

from pylatent.coding import rans
from pylatent.coding._lane_stream import decode_stream
from pylatent.coding.tables import CdfTables
from pylatent.errors import FormatError

pytestmark = pytest.mark.filterwarnings("ignore::pylatent.errors.PylatentWarning")
TABLES = CdfTables.gaussian(np.exp(np.linspace(np.log(0.11), np.log(256), 64)))


def stream(n, seed=0):
    rng = np.random.default_rng(seed)
    indexes = rng.integers(0, 40, n)
    symbols = np.rint(rng.standard_normal(n) * TABLES.length[indexes] / 12)
    symbols[:: max(n // 5, 1)] = 10**6
    symbols = torch.from_numpy(symbols.astype(np.int32))
    indexes = torch.from_numpy(indexes.astype(np.uint8))
    return symbols, indexes, rans.encode(symbols, indexes, TABLES)


def outcome(call):
    try:
        return call().tolist()
    except FormatError:
        return "refused"


def damaged(data, rng):
    kind = rng.integers(0, 5)
    at = int(rng.integers(0, len(data)))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data + rng.bytes(int(rng.integers(1, 5)))
    if kind == 2:
        return data[:at] + data[at + 1 :]
    if kind == 3:
        return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(0, 8))]) + data[at + 1 :]
    return rng.bytes(len(data))


@pytest.mark.parametrize(("n", "tries"), [(1, 100), (50, 300), (300, 300), (40000, 12)])
def test_damage_is_refused_or_decoded_alike(n, tries):
    _, indexes, data = stream(n)
    rng = np.random.default_rng(n)
    refused = 0
    for _ in range(tries):
        bad = damaged(data, rng)
        native = outcome(lambda bad=bad: rans.decode(bad, indexes, TABLES))
        reference = outcome(lambda bad=bad: decode_stream(bad, indexes.numpy().astype(np.int64), TABLES.lanes))
        assert native == reference
        refused += native == "refused"
    assert refused > 0.8 * tries


@pytest.mark.parametrize("n", [1, 300, 40000])
def test_every_truncation_and_extension_is_refused(n):
    _, indexes, data = stream(n)
    lengths = range(len(data)) if n < 1000 else range(0, len(data), 997)
    for bad in [*(data[:length] for length in lengths), data + b"\0", data + b"\0\0"]:
        with pytest.raises(FormatError):
            rans.decode(bad, indexes, TABLES)


@pytest.mark.parametrize(
    ("data", "n", "message"),
    [
        (b"", 5, "the stream is empty"),
        (b"\1", 0, "a stream of no symbols must be one zero byte"),
        (b"\0\0", 0, "a stream of no symbols must be one zero byte, got 2 bytes"),
        (b"\7" + bytes(600), 5, "the first byte of the stream is 7"),
        (b"\x20" + bytes(9), 5, "the first byte of the stream is 32"),
        (b"\0\0\0\1", 5, "needs 4 bytes of states"),
        (b"\0\0\0\1\0\0", 5, "whole words"),
        (b"\0\xff\xff\0\0", 5, "a state below 65536"),
        (b"\x10\1" + bytes(9), 5, "declares 1 segments for 5 symbols"),
        (b"\x10\6" + bytes(9), 5, "declares 6 segments for 5 symbols"),
        (b"\x10\2\x90\1" + bytes(9), 5, "longer than the stream"),
        (b"\x10\x82\0" + bytes(9), 5, "longer than it needs to be"),
        (b"\x10\x82", 5, "ends within a number"),
        (b"\x08\x09" + bytes(8), 5, "the escapes are longer than their segment"),
        (b"\0\0\0\1\0", 10**5, "ends early"),
        (b"\0\0\0\1\0\1\0", 1, "the last states or the length are wrong"),
    ],
)
def test_what_is_wrong_is_named(data, n, message):
    indexes = torch.full((n,), 30, dtype=torch.uint8)
    with pytest.raises(FormatError, match=message):
        rans.decode(data, indexes, TABLES)
    with pytest.raises(FormatError, match=message):
        decode_stream(data, indexes.numpy().astype(np.int64), TABLES.lanes)


def test_the_damaged_item_of_a_batch_is_named():
    symbols, indexes, data = stream(300)
    with pytest.raises(FormatError, match=r"item 1: "):
        rans.decode_batch([data, data[:-2], data], [indexes] * 3, TABLES, threads=2)
    with pytest.raises(IndexError, match="item 2: `indexes` must lie in"):
        rans.encode_batch([symbols] * 3, [indexes, indexes, indexes + 64], TABLES)
