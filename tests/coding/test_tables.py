"""CdfTables: validation, construction, and the lane tables derived from them."""

import hashlib

import numpy as np
import pytest
import torch

from pylatent.coding._lane_tables import MAX_COUNT, log2_fixed
from pylatent.coding.tables import CdfTables, quantize_pmf

SCALES = np.exp(np.linspace(np.log(0.11), np.log(256), 64))


@pytest.mark.parametrize(
    ("cdf", "length", "offset", "message"),
    [
        ([[0, 1, 65536]], [2], [0], r"`length\[0\]` must be between 3 and the row width 3, got 2"),
        ([[0, 1, 65536]], [4], [0], r"`length\[0\]` must be between 3 and the row width 3, got 4"),
        ([[1, 2, 65536]], [3], [0], r"`cdf\[0\]` must run from 0 to 65536, got 1 to 65536"),
        ([[0, 1, 65535]], [3], [0], r"`cdf\[0\]` must run from 0 to 65536, got 0 to 65535"),
        ([[0, 9, 9, 65536]], [4], [0], r"`cdf\[0\]` must increase strictly, got 9, 9 at entry 1"),
        ([[0, 1, 65536], [0, 9, 3]], [3, 3], [0, 0], r"`cdf\[1\]` must run from 0 to 65536, got 0 to 3"),
        ([[0, 1, 65536]], [3], [1 << 31], r"`offset\[0\]` must lie within"),
        ([[0, 1, 65536]], [3, 3], [0], r"`length` must have shape \(1,\)"),
        ([[0, 1, 65536]], [3], [0.5], "`offset` must be 1-D integers"),
        ([0, 1, 65536], [3], [0], "`cdf` must be 2-D integers"),
        (np.zeros((0, 3), int), [], [], "`cdf` must hold between 1 and 65536 tables, got 0"),
    ],
)
def test_bad_tables_are_refused(cdf, length, offset, message):
    with pytest.raises(ValueError, match=message):
        CdfTables(cdf, length, offset)


def test_tables_are_immutable_and_ignore_padding():
    tables = CdfTables(torch.tensor([[0, 5, 65536, 77], [0, 1, 2, 65536]]), [3, 4], [-1, 3])
    assert tables.cdf.tolist() == [[0, 5, 65536, 0], [0, 1, 2, 65536]]
    with pytest.raises(ValueError, match="read-only"):
        tables.cdf[0, 0] = 1
    assert tables.digest == CdfTables([[0, 5, 65536, 0], [0, 1, 2, 65536]], [3, 4], [-1, 3]).digest
    assert tables.digest != CdfTables([[0, 5, 65536, 0], [0, 1, 2, 65536]], [3, 4], [-1, 4]).digest
    parts = [16, 2, 3, 4, -1, 3, 0, 5, 65536, 0, 1, 2, 65536]
    assert tables.digest == hashlib.sha256(np.array(parts, "<i4").tobytes()).digest()


def test_flat_round_trip():
    tables = CdfTables.gaussian(SCALES)
    again = CdfTables.from_flat(tables.flat(), tables.length, tables.offset)
    assert again.digest == tables.digest
    with pytest.raises(ValueError, match="must add up to"):
        CdfTables.from_flat(tables.flat()[:-1], tables.length, tables.offset)


def test_gaussian_tables_have_compressai_shapes():
    tables = CdfTables.gaussian(SCALES)
    assert tables.cdf.shape == (64, 3133)
    assert int(tables.length.sum()) == 27256
    assert tables.length[0] == 5
    assert tables.offset[63] == -1565
    assert hashlib.sha256(tables.flat().astype("<i4").tobytes()).hexdigest()[:8] == "97245cfa"


def test_quantize_pmf_by_hand():
    assert quantize_pmf(np.array([0.5, 0.25, 0.25]), 4).tolist() == [0, 8, 12, 16]
    # 16 * 0.03125 = 0.5 rounds away from zero; the empty bin takes its unit from the smallest bin above one.
    assert quantize_pmf(np.array([0.75, 0.21875, 0.03125, 0.0]), 4).tolist() == [0, 11, 14, 15, 16]
    for bad in ([0.5, -0.1], [float("nan")], [float("inf")], [], [0.0, 0.0]):
        with pytest.raises(ValueError, match="`pmf`"):
            quantize_pmf(np.array(bad, np.float32), 16)


def test_from_pmf_gives_the_rest_to_the_escape():
    tables = CdfTables.from_pmf([np.array([0.5, 0.25]), torch.tensor([0.5, 0.25, 0.25])], [0, -1])
    assert tables.cdf[0, :4].tolist() == [0, 32768, 49152, 65536]
    assert tables.cdf[1, :5].tolist() == [0, 32768, 49151, 65535, 65536]


def lane_invariants(tables):
    lanes = tables.lanes
    for k in range(tables.num_tables):
        bits, extra, count = int(lanes.precision[k]), int(lanes.extra[k]), int(lanes.count[k])
        row = lanes.cdf[lanes.row[k] : lanes.row[k + 1]].astype(np.int64)
        assert len(row) == count + 2
        assert row[0] == 0
        assert row[-1] == 1 << bits
        assert (np.diff(row) > 0).all()
        assert bits + extra <= 16
        assert 1 <= count <= MAX_COUNT[bits]
    assert (lanes.min_bits > 0).all()


def test_lane_tables_of_gaussians_cost_little():
    tables = CdfTables.gaussian(SCALES)
    lane_invariants(tables)
    lanes = tables.lanes
    for k in range(tables.num_tables):
        p = np.diff(tables.cdf[k, : tables.length[k]]).astype(np.float64)[:-1] / 65536
        above = np.arange(len(p)) + int(tables.offset[k]) - int(lanes.low[k])
        bins = np.where((above >= 0) & (above >> lanes.extra[k] < lanes.count[k]), (above >> lanes.extra[k]) + 1, 0)
        f = np.diff(lanes.cdf[lanes.row[k] : lanes.row[k + 1]])[bins]
        bits = lanes.precision[k] + lanes.extra[k] - np.log2(f) + np.where(bins == 0, 8, 0)
        assert (p * (bits + np.log2(p))).sum() < max(0.004 * -(p * np.log2(p)).sum(), 0.001)


@pytest.mark.parametrize("precision", [2, 8, 16])
def test_lane_tables_of_random_tables(precision):
    rng = np.random.default_rng(precision)
    rows, total = [], 1 << precision
    for _ in range(60):
        size = int(rng.integers(1, min(total - 1, 5000), endpoint=True))
        inner = rng.choice(np.arange(1, total), size, replace=False)
        rows.append(np.concatenate([[0], np.sort(inner), [total]]))
    tables = CdfTables.from_flat(np.concatenate(rows), [len(r) for r in rows], [0] * len(rows), precision=precision)
    lane_invariants(tables)


def test_log2_is_exact():
    values = np.arange(1, 1 << 15, 2003)
    fixed = log2_fixed(values)
    for v, got in zip(values.tolist(), fixed.tolist(), strict=True):
        assert (v**65536).bit_length() - 1 == got
    assert log2_fixed(1 << np.arange(16)).tolist() == [k << 16 for k in range(16)]
