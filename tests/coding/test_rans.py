"""The lane coder: round trips, identical bytes from every path, arguments, rate."""

import numpy as np
import pytest
import torch

from pylatent import _native
from pylatent.coding import rans
from pylatent.coding._lane_stream import decode_stream, encode_stream, plan
from pylatent.coding.tables import CdfTables

SCALES = np.exp(np.linspace(np.log(0.11), np.log(256), 64))
TABLES = CdfTables.gaussian(SCALES)
needs_native = pytest.mark.skipif(_native.why_not_native() is not None, reason="compares with the native core")
pytestmark = pytest.mark.filterwarnings("ignore::pylatent.errors.PylatentWarning")


def latent(n, spread, seed=0):
    """Symbols and indexes like a picture's: log-normal scales around `spread`, Gaussian residuals."""
    rng = np.random.default_rng(seed)
    indexes = np.minimum(np.searchsorted(SCALES, spread * np.exp(rng.standard_normal(n))), 63)
    symbols = np.rint(rng.standard_normal(n) * SCALES[indexes])
    return torch.from_numpy(symbols.astype(np.int32)), torch.from_numpy(indexes.astype(np.uint8))


def reference_bytes(symbols, indexes, tables=TABLES):
    return encode_stream(symbols.numpy().astype(np.int64), indexes.numpy().astype(np.int64), tables.lanes)


def reference_symbols(data, indexes, tables=TABLES):
    return torch.from_numpy(decode_stream(data, indexes.numpy().astype(np.int64), tables.lanes).astype(np.int32))


def random_tables(rng, count, most=600):
    """Tables with nothing smooth about them, of 1 to `most` symbols."""
    rows = []
    for _ in range(count):
        inner = np.sort(rng.choice(np.arange(1, 65536), int(rng.integers(1, most)), replace=False))
        rows.append(np.concatenate([[0], inner, [65536]]))
    return CdfTables.from_flat(np.concatenate(rows), [len(r) for r in rows], rng.integers(-300, 300, count))


@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 1000, 70000])
@pytest.mark.parametrize("spread", [0.05, 1.0, 40.0])
def test_round_trip(n, spread):
    symbols, indexes = latent(n, spread)
    data = rans.encode(symbols, indexes, TABLES)
    assert torch.equal(rans.decode(data, indexes, TABLES), symbols)


# Sizes and spreads that lead to 1, 2, 4, ..., 64 lanes, and to 2 segments.
LANE_CASES = [(1000, 1.0, 0), (30000, 1.0, 1), (60000, 1.0, 2), (120000, 1.0, 3), (250001, 1.0, 4)]
LANE_CASES += [(250001, 4.0, 5), (350001, 8.0, 6), (700001, 40.0, 6)]


@needs_native
@pytest.mark.parametrize(("n", "spread", "lanes_log2"), LANE_CASES)
def test_native_equals_numpy(n, spread, lanes_log2):
    symbols, indexes = latent(n, spread)
    symbols[:: n // 50] = torch.arange(-30000, -30000 + len(symbols[:: n // 50]), dtype=torch.int32)
    assert plan(indexes.numpy(), TABLES.lanes) == (lanes_log2, 2 if n > 700000 else 1)
    data = rans.encode(symbols, indexes, TABLES)
    assert data == reference_bytes(symbols, indexes)
    assert data == rans.encode(symbols, indexes, TABLES, threads=2)
    assert torch.equal(rans.decode(data, indexes, TABLES), symbols)
    assert torch.equal(rans.decode(data, indexes, TABLES, threads=2), symbols)
    assert torch.equal(reference_symbols(data, indexes), symbols)


@needs_native
@pytest.mark.parametrize("seed", range(20))
def test_native_equals_numpy_on_random_tables(seed):
    rng = np.random.default_rng(seed)
    tables = random_tables(rng, int(rng.integers(1, 200)))
    n = int(rng.choice([1, 7, 300, 20000, 80000]))
    indexes = torch.from_numpy(rng.integers(0, tables.num_tables, n).astype(np.int32))
    inside = tables.offset[indexes] + rng.integers(-2, tables.length[indexes] + 1)
    wild = rng.integers(-(2**31), 2**31, n)
    symbols = torch.from_numpy(np.where(rng.random(n) < 0.01, wild, inside).astype(np.int32))
    data = rans.encode(symbols, indexes, tables)
    assert data == reference_bytes(symbols, indexes, tables)
    assert torch.equal(rans.decode(data, indexes, tables), symbols)
    assert torch.equal(reference_symbols(data, indexes, tables), symbols)


def test_any_int32_symbol():
    extremes = [-(2**31), 2**31 - 1, 0, -1, 1, 2**27, -(2**27), 1000, -1000, 5000]
    symbols = torch.tensor(extremes, dtype=torch.int32).repeat(64)
    indexes = torch.arange(64, dtype=torch.int32).repeat_interleave(len(extremes))
    data = rans.encode(symbols, indexes, TABLES)
    assert torch.equal(rans.decode(data, indexes, TABLES), symbols)


def test_far_offsets():
    tables = CdfTables([[0, 9, 65000, 65536]] * 2, [4, 4], [1 << 30, -(1 << 30)])
    symbols = torch.tensor([1 << 30, (1 << 30) + 1, -(1 << 30), 7], dtype=torch.int32)
    indexes = torch.tensor([0, 0, 1, 1], dtype=torch.uint8)
    data = rans.encode(symbols, indexes, tables)
    assert data == reference_bytes(symbols, indexes, tables)
    assert torch.equal(rans.decode(data, indexes, tables), symbols)


def test_dtypes_and_strides_do_not_matter():
    symbols, indexes = latent(6 * 70 * 50, 1.0)
    symbols, indexes = symbols.view(1, 6, 70, 50), indexes.view(1, 6, 70, 50)
    data = rans.encode(symbols, indexes, TABLES)
    for layout in (torch.contiguous_format, torch.channels_last):
        for index_type in (torch.uint8, torch.int16, torch.int32):
            for symbol_type in (torch.int16, torch.int32):
                s = symbols.to(symbol_type).contiguous(memory_format=layout)
                i = indexes.to(index_type).contiguous(memory_format=layout)
                assert rans.encode(s, i, TABLES) == data
                assert torch.equal(rans.decode(data, i, TABLES), symbols)


def test_batch_equals_single():
    rng = np.random.default_rng(1)
    pairs = [
        latent(int(n), float(s), seed)
        for seed, (n, s) in enumerate(zip(rng.integers(0, 3000, 40), rng.random(40), strict=True))
    ]
    pairs.append(latent(90000, 1.0))
    symbols, indexes = [s for s, _ in pairs], [i for _, i in pairs]
    for threads in (1, 2):
        data = rans.encode_batch(symbols, indexes, TABLES, threads=threads)
        assert data == [rans.encode(s, i, TABLES) for s, i in pairs]
        decoded = rans.decode_batch(data, indexes, TABLES, threads=threads)
        assert all(torch.equal(d, s) for d, s in zip(decoded, symbols, strict=True))


def ideal_bits(symbols, indexes):
    """-sum log2 p under the 16-bit tables, and 8 bits for the value of each escape."""
    s, k = symbols.numpy().astype(np.int64), indexes.numpy().astype(np.int64)
    last = TABLES.length[k] - 2
    bins = s - TABLES.offset[k]
    escaped = (bins < 0) | (bins >= last)
    bins[escaped] = last[escaped]
    p = (TABLES.cdf[k, bins + 1] - TABLES.cdf[k, bins]) / 65536
    return -np.log2(p).sum() + 8 * escaped.sum()


@pytest.mark.parametrize("spread", [0.0444, 0.0627, 0.1748, 0.9466], ids=["0.05", "0.1", "0.5", "2.2 bit/symbol"])
def test_rate(spread):
    symbols, indexes = latent(192 * 68 * 120, spread)
    ideal = ideal_bits(symbols, indexes) / 8
    assert len(rans.encode(symbols, indexes, TABLES)) < 1.002 * ideal
    symbols, indexes = latent(192 * 32 * 48, spread)
    ideal = ideal_bits(symbols, indexes) / 8
    assert len(rans.encode(symbols, indexes, TABLES)) < 1.005 * ideal + 24
    symbols, indexes = latent(192 * 14 * 14, spread)
    ideal = ideal_bits(symbols, indexes) / 8
    assert len(rans.encode(symbols, indexes, TABLES)) < 1.005 * ideal + 8


def test_min_bits_bounds_the_rate():
    for k in (0, 3, 9, 20, 40, 63):
        n = 200000
        indexes = torch.full((n,), k, dtype=torch.uint8)
        size = len(rans.encode(torch.zeros(n, dtype=torch.int32), indexes, TABLES))
        assert 8 * size >= n * TABLES.min_bits[k]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s, i: rans.encode(s, i[:-1], TABLES), ValueError, r"must have the shape of `symbols`, \(100,\)"),
        (lambda s, i: rans.encode(s.float(), i, TABLES), TypeError, "`symbols` must be a tensor of torch.int32"),
        (lambda s, i: rans.encode(s.tolist(), i, TABLES), TypeError, "got list"),
        (lambda s, i: rans.encode(s, i.long(), TABLES), TypeError, "`indexes` must be a tensor of .* got torch.int64"),
        (lambda s, i: rans.encode(s, i + 64, TABLES), IndexError, r"`indexes` must lie in \[0, 64\), got \d+ at pos"),
        (lambda s, i: rans.encode(s, i.int() - 999, TABLES), IndexError, "got -9.* at position 0"),
        (lambda s, i: rans.encode(s, i, TABLES, threads=0), ValueError, "`threads` must be at least 1, got 0"),
        (lambda s, i: rans.encode_batch([s], [], TABLES), ValueError, "as many items as `symbols`, 1, got 0"),
        (lambda s, i: rans.decode(rans.encode(s, i, TABLES), i - 99, TABLES), IndexError, "at position 0"),
        (lambda s, i: rans.decode_batch([b"\0"], [i, i], TABLES), ValueError, "as many items as `data`, 1, got 2"),
        (lambda s, i: rans.decode("text", i, TABLES), TypeError, "`data` must be bytes"),
    ],
)
def test_bad_arguments(call, error, message):
    symbols, indexes = latent(100, 1.0)
    with pytest.raises(error, match=message):
        call(symbols, indexes)


def test_index_error_names_the_position():
    symbols, indexes = latent(9000, 1.0)
    data = rans.encode(symbols, indexes, TABLES)
    indexes[8765] = 64
    for call in (lambda: rans.encode(symbols, indexes, TABLES), lambda: rans.decode(data, indexes, TABLES)):
        with pytest.raises(IndexError, match="got 64 at position 8765"):
            call()
