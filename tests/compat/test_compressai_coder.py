"""The coder against CompressAI's own bytes (golden), against CompressAI itself where installed, and against Python."""

import os
import threading

import numpy as np
import pytest
import torch
from compressai_cases import Case, gaussian_symbols, gaussian_tables, load_golden, random_cases
from extras import extra

from pylatent import _native
from pylatent.coding.tables import CdfTables
from pylatent.compat.compressai import BufferedRansEncoder, RansDecoder, RansEncoder, _reference, pmf_to_quantized_cdf
from pylatent.errors import FormatError, PylatentWarning

EMPTY = bytes.fromhex("0000008000000000")
TABLES = ([[0, 20000, 40000, 60000, 65536]], [5], [-1])
RANDOM_CASES = int(os.environ.get("PYLATENT_COMPAT_CASES", "300"))

native_only = pytest.mark.skipif(_native.why_not_native() is not None, reason="no native core")


@pytest.fixture(params=["native", "python"])
def backend(request, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(_native, "_reason", "the test wants Python")
        monkeypatch.setattr("pylatent.compat.compressai._tables._warned", True)
    elif _native.why_not_native() is not None:
        pytest.skip(f"no native core: {_native.why_not_native()}")
    return request.param


def encode(case: Case, encoder_class=BufferedRansEncoder) -> bytes:
    encoder = encoder_class()
    for segment in case:
        encoder.encode_with_indexes(*segment.arguments)
    return encoder.flush()


def decode(stream: bytes, case: Case, decoder_class=RansDecoder) -> list[list[int]]:
    decoder = decoder_class()
    decoder.set_stream(stream)
    symbols = [decoder.decode_stream(segment.indexes, *segment.tables) for segment in case]
    if decoder_class is RansDecoder:
        decoder.check_end()
    return symbols


def test_golden_vector(backend):
    stream = RansEncoder().encode_with_indexes([0, 1, 2, 0], [0] * 4, *TABLES)
    assert stream.hex() == "60551426040d0000"
    assert RansDecoder().decode_with_indexes(stream, [0] * 4, *TABLES) == [0, 1, 2, 0]


def test_golden_streams(backend):
    cases, _ = load_golden()
    assert sum(len(case) > 1 for case, _ in cases) > 20
    for case, stream in cases:
        assert encode(case) == stream
        assert decode(stream, case) == [segment.symbols for segment in case]
        if len(case) == 1:
            assert RansEncoder().encode_with_indexes(*case[0].arguments) == stream
            assert RansDecoder().decode_with_indexes(stream, case[0].indexes, *case[0].tables) == case[0].symbols


def test_golden_pmfs(backend):
    _, pmfs = load_golden()
    for pmf, precision, cdf in pmfs:
        assert pmf_to_quantized_cdf(pmf.tolist(), precision) == cdf
        assert pmf_to_quantized_cdf(torch.from_numpy(pmf), precision).tolist() == cdf


def test_against_compressai():
    """Both coders give the same bytes and read each other's. PYLATENT_COMPAT_CASES=10000 for the long run."""
    ans = extra("compressai.ans")
    for case in random_cases(RANDOM_CASES, seed=11):
        stream = encode(case, ans.BufferedRansEncoder)
        assert encode(case) == stream
        symbols = [segment.symbols for segment in case]
        assert decode(stream, case) == symbols
        assert decode(stream, case, ans.RansDecoder) == symbols
        if len(case) == 1:
            assert RansEncoder().encode_with_indexes(*case[0].arguments) == stream


def test_pmf_against_compressai():
    cxx = extra("compressai._CXX")
    rng = np.random.default_rng(3)
    for _ in range(200):
        pmf = (rng.random(int(rng.choice([1, 3, 50, 900]))) ** float(rng.choice([1, 20]))).astype(
            np.float32
        ) + np.float32(1e-3)
        precision = int(rng.choice([10, 16]))
        assert pmf_to_quantized_cdf(pmf.tolist(), precision) == cxx.pmf_to_quantized_cdf(pmf.tolist(), precision)


@native_only
def test_native_against_python(monkeypatch):
    cases = list(random_cases(60, seed=5))
    streams = [encode(case) for case in cases]
    monkeypatch.setattr("pylatent.compat.compressai._coder.coder", lambda: _reference)
    monkeypatch.setattr("pylatent.compat.compressai._tables.coder", lambda: _reference)
    assert [encode(case) for case in cases] == streams
    assert [decode(s, case) for s, case in zip(streams, cases, strict=True)] == [[g.symbols for g in c] for c in cases]


def test_gaussian_tables(backend):
    symbols, indexes = gaussian_symbols(5000, seed=4)
    tables = CdfTables(*gaussian_tables())
    stream = RansEncoder().encode_with_indexes(symbols, indexes, tables)
    decoded = RansDecoder().decode_with_indexes(stream, indexes, tables)
    assert decoded.dtype == np.int32
    np.testing.assert_array_equal(decoded, symbols)


def test_one_table_per_symbol(backend):
    """Mixture models do so; more than 1024 tables take the path that searches instead of looking up."""
    rng = np.random.default_rng(0)
    n = 1500
    inner = np.sort(rng.choice(np.arange(1, 65536), (n, 6)), axis=1) + np.arange(6)
    cdfs = np.column_stack([np.zeros(n, np.int64), np.minimum(inner, 65530 + np.arange(6)), np.full(n, 65536)])
    args = (np.arange(n), cdfs, np.full(n, 8), np.zeros(n, np.int64))
    symbols = rng.integers(-2, 9, n)
    stream = RansEncoder().encode_with_indexes(symbols, *args)
    encoder = BufferedRansEncoder()
    encoder.encode_with_indexes(symbols, *args)
    assert encoder.flush() == stream
    np.testing.assert_array_equal(RansDecoder().decode_with_indexes(stream, *args), symbols)
    half = [a[:700] for a in args]  # the same symbols with few enough tables to expand
    expected = RansEncoder().encode_with_indexes(symbols[:700].tolist(), *(a.tolist() for a in half))
    assert RansEncoder().encode_with_indexes(symbols[:700], args[0][:700], *args[1:]) == expected


@pytest.mark.parametrize("n", [0, 1, 2])
def test_streams_that_crash_compressai(backend, n):
    """None, one or two symbols of frequency 1."""
    tables = ([[0, 1, 2, 65536]], [4], [0])
    symbols, indexes = [0, 1][:n], [0] * n
    stream = RansEncoder().encode_with_indexes(symbols, indexes, *tables)
    assert len(stream) == (8 if n < 2 else 12)
    assert n or stream == EMPTY
    assert RansDecoder().decode_with_indexes(stream, indexes, *tables) == symbols
    encoder = BufferedRansEncoder()
    assert encoder.flush() == EMPTY
    encoder.encode_with_indexes(symbols, indexes, *tables)
    assert encoder.flush() == stream
    assert encoder.flush() == EMPTY


def test_escapes_up_to_32_bits(backend):
    symbols = [2, 3, -2, 2**27, -(2**27), 2**31 - 1, -(2**31)]
    args = ([0] * len(symbols), [[0, 30000, 60000, 65000, 65536]], [5], [0])
    stream = RansEncoder().encode_with_indexes(symbols, *args)
    assert RansDecoder().decode_with_indexes(stream, *args) == symbols
    with pytest.raises(ValueError, match=r"`symbols\[1\]` lies too far outside its table"):
        RansEncoder().encode_with_indexes([5, -(2**31)], [0, 0], *args[1:3], [5])


def test_kinds_of_arguments(backend):
    rng = np.random.default_rng(1)
    symbols = rng.integers(-6, 7, (3, 4, 5))
    indexes = rng.integers(0, 2, (3, 4, 5))
    rows = [[0, 9, 65000, 65536], [0, 30000, 40000, 65535, 65536]]
    cdfs, sizes, offsets = np.array([[*rows[0], 0], rows[1]]), np.array([4, 5]), np.array([0, -2])
    expected = RansEncoder().encode_with_indexes(
        symbols.flatten().tolist(), indexes.flatten().tolist(), rows, [4, 5], [0, -2]
    )
    tables = CdfTables(cdfs, sizes, offsets)
    for dtype in (np.int8, np.int16, np.int32, np.int64):
        kinds = [symbols.astype(dtype), indexes.astype(dtype)]
        assert RansEncoder().encode_with_indexes(*kinds, cdfs, sizes, offsets) == expected
        assert RansEncoder().encode_with_indexes(*map(torch.from_numpy, kinds), tables) == expected
    turned = symbols.transpose(2, 1, 0).copy().transpose(2, 1, 0)
    assert RansEncoder().encode_with_indexes(turned, indexes.astype(np.uint8), tables) == expected
    as_tensors = [torch.from_numpy(a) for a in (cdfs, sizes, offsets)]
    assert RansEncoder().encode_with_indexes(symbols, tuple(indexes.flatten().tolist()), *as_tensors) == expected
    assert RansEncoder().encode_with_indexes(symbols, indexes, list(map(np.array, rows)), sizes, offsets) == expected

    for data in (expected, bytearray(expected), memoryview(expected)):
        array = RansDecoder().decode_with_indexes(data, indexes, tables)
        assert array.dtype == np.int32
        np.testing.assert_array_equal(array, symbols)
    tensor = RansDecoder().decode_with_indexes(expected, torch.from_numpy(indexes).to(torch.int16), *as_tensors)
    assert tensor.dtype == torch.int32
    assert torch.equal(tensor, torch.from_numpy(symbols).int())
    assert RansDecoder().decode_with_indexes(expected, [np.int64(i) for i in indexes.flat], tables) == list(
        symbols.flat
    )


ROW = [0, 100, 65000, 65536]
BAD_ARGUMENTS = {
    "few indexes": (([0, 0], [0], [ROW], [4], [0]), ValueError, "`indexes` must be as long as `symbols`"),
    "index too large": (([0], [1], [ROW], [4], [0]), IndexError, r"`indexes\[0\]` must be in \[0, 1\)"),
    "index negative": (([0], [-1], [ROW], [4], [0]), IndexError, r"`indexes\[0\]` must be in"),
    "only the escape": (([0], [0], [[0, 65536]], [2], [0]), ValueError, r"`cdfs_sizes\[0\]` must be at least 3"),
    "size beyond the row": (([0], [0], [ROW], [5], [0]), ValueError, r"`cdfs_sizes\[0\]` must be at least 3"),
    "negative size": (([0], [0], [ROW], [-4], [0]), ValueError, r"`cdfs_sizes\[0\]`"),
    "does not end at 2^16": (([0], [0], [[0, 5, 9, 65535]], [4], [0]), ValueError, r"`cdfs\[0\]` must .*end at 65536"),
    "does not start at 0": (([0], [0], [[1, 5, 9, 65536]], [4], [0]), ValueError, r"`cdfs\[0\]` must start at 0"),
    "second row flat": (([0], [0], [ROW, [0, 5, 5, 65536]], [4, 4], [0, 0]), ValueError, r"`cdfs\[1\]` must increase"),
    "wraps around": (([0], [0], [[0, 65537, 9, 65536]], [4], [0]), ValueError, r"`cdfs\[0\]` must increase"),
    "no tables": (([], [], [], [], []), ValueError, "`cdfs` must hold at least one table"),
    "sizes too short": (([0], [0], [ROW], [], [0]), ValueError, "`cdfs_sizes` and `offsets` must have one entry"),
    "offset overflows": (([0], [0], [ROW], [4], [2**31 - 1]), ValueError, r"`offsets\[0\]` must leave every symbol"),
    "symbol too large": (([2**31], [0], [ROW], [4], [0]), ValueError, r"`symbols\[0\]` must fit a 32-bit"),
    "float symbol": (([0.5], [0], [ROW], [4], [0]), TypeError, r"`symbols\[0\]` must be an integer, got float"),
    "float tensor": ((torch.zeros(1), [0], [ROW], [4], [0]), TypeError, "`symbols` must hold integers"),
    "bool array": (([0], np.zeros(1, bool), [ROW], [4], [0]), TypeError, "`indexes` must hold integers"),
    "int64 overflow": ((np.array([2**40]), [0], [ROW], [4], [0]), ValueError, "`symbols` must fit 32-bit"),
    "flat cdfs": (([0], [0], np.array(ROW), [4], [0]), ValueError, r"`cdfs` must have shape \(tables, entries\)"),
    "no sizes": (([0], [0], [ROW]), TypeError, "`cdfs_sizes` must be a list"),
    "string": (("0", [0], [ROW], [4], [0]), TypeError, "`symbols` must be a list, an array or a tensor"),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_arguments(backend, name):
    arguments, error, message = BAD_ARGUMENTS[name]
    with pytest.raises(error, match=message):
        RansEncoder().encode_with_indexes(*arguments)
    encoder = BufferedRansEncoder()
    with pytest.raises(error, match=message):
        encoder.encode_with_indexes(*arguments)
    assert encoder.flush() == EMPTY
    if "symbol" not in message:
        with pytest.raises(error, match=message):
            RansDecoder().decode_with_indexes(EMPTY, *arguments[1:])


def test_precision_and_double_tables(backend):
    tables = CdfTables([[0, 10, 4096]], [3], [0], precision=12)
    with pytest.raises(ValueError, match="`cdfs` must have precision 16"):
        RansEncoder().encode_with_indexes([0], [0], tables)
    with pytest.raises(TypeError, match="must be left out"):
        RansEncoder().encode_with_indexes([0], [0], tables, [3], [0])


def test_bad_pmfs(backend):
    for pmf in ([0.5, -0.1], [float("nan")], [float("inf"), 1.0], [0.0, 0.0], []):
        with pytest.raises(ValueError, match="`pmf"):
            pmf_to_quantized_cdf(pmf, 16)
    with pytest.raises(ValueError, match="pmf"):
        pmf_to_quantized_cdf([0.2] * 5, 2)  # CompressAI's table is corrupt


def test_decode_stream_needs_a_stream(backend):
    with pytest.raises(RuntimeError, match="call `set_stream` first"):
        RansDecoder().decode_stream([0], *TABLES)
    with pytest.raises(TypeError, match="`encoded` must be bytes"):
        RansDecoder().set_stream("text")


def test_failed_call_does_not_move_on(backend):
    stream = RansEncoder().encode_with_indexes([0, 1, 2, 0] * 20, [0] * 80, *TABLES)
    decoder = RansDecoder()
    decoder.set_stream(stream)
    assert decoder.decode_stream([0] * 4, *TABLES) == [0, 1, 2, 0]
    with pytest.raises(FormatError, match="the stream ends at symbol"):
        decoder.decode_stream([0] * 10_000, *TABLES)
    with pytest.raises(IndexError, match=r"`indexes\[1\]`"):
        decoder.decode_stream([0, 7], *TABLES)
    assert decoder.decode_stream([0] * 76, *TABLES) == [0, 1, 2, 0] * 19
    decoder.check_end()


def test_tensors_changed_in_place_are_noticed(backend):
    cdfs, sizes, offsets = torch.tensor([[0, 100, 60000, 65536]]), torch.tensor([4]), torch.tensor([0])
    decoder = RansDecoder()
    for middle in (100, 30000):
        cdfs[0, 1] = middle
        expected = RansEncoder().encode_with_indexes([0, 1, 1, 0], [0] * 4, cdfs.tolist(), [4], [0])
        assert RansEncoder().encode_with_indexes([0, 1, 1, 0], [0] * 4, cdfs, sizes, offsets) == expected
        decoder.set_stream(expected)
        assert decoder.decode_stream([0] * 4, cdfs, sizes, offsets) == [0, 1, 1, 0]


def test_tables_are_prepared_once(backend, monkeypatch):
    from pylatent.compat.compressai import _tables

    built = []
    build = _tables._build
    monkeypatch.setattr(_tables, "_build", lambda *args: built.append(1) or build(*args))
    lists = TABLES
    tensors = tuple(map(torch.tensor, TABLES))
    stream = RansEncoder().encode_with_indexes([0] * 30, [0] * 30, *TABLES)
    with torch.inference_mode():
        inference = tuple(map(torch.tensor, TABLES))
    for tables in (lists, tensors, inference, tuple(map(np.array, TABLES)), (CdfTables(*TABLES),)):
        built.clear()
        decoder = RansDecoder()
        decoder.set_stream(stream)
        for _ in range(10):
            decoder.decode_stream([0] * 3, *tables)
        decoder.check_end()
        assert len(built) == 1
    built.clear()
    for _ in range(3):  # tensors are remembered from one object to the next, lists are not
        RansEncoder().encode_with_indexes([0], [0], *tensors)
    assert built == []
    entries = len(_tables._remembered._entries)
    del tensors, decoder, tables
    assert len(_tables._remembered._entries) < entries


@native_only  # which releases the GIL
def test_threads_share_a_coder():
    tables = CdfTables(*TABLES)
    encoder, decoder = BufferedRansEncoder(), RansDecoder()
    symbols = np.tile(np.array([0, 1, 0, 0], np.int32), 50)
    indexes = np.zeros_like(symbols)
    run = [threading.Thread(target=encoder.encode_with_indexes, args=(symbols, indexes, tables)) for _ in range(8)]
    for thread in run:
        thread.start()
    for thread in run:
        thread.join()
    decoder.set_stream(encoder.flush())
    results = []
    run = [threading.Thread(target=lambda: results.append(decoder.decode_stream(indexes, tables))) for _ in range(8)]
    for thread in run:
        thread.start()
    for thread in run:
        thread.join()
    decoder.check_end()
    assert all(np.array_equal(r, symbols) for r in results)


def test_python_coder_says_once_that_it_is_slow(monkeypatch):
    monkeypatch.setattr(_native, "_reason", "there is no compiler")
    monkeypatch.setattr("pylatent.compat.compressai._tables._warned", False)
    with pytest.warns(PylatentWarning, match="there is no compiler"):
        RansEncoder().encode_with_indexes([0], [0], *TABLES)
    RansEncoder().encode_with_indexes([0], [0], *TABLES)  # a second warning would be an error
