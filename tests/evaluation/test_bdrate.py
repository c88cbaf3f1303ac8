"""Bjontegaard rates: cases worked by hand, and SciPy's PCHIP."""

import math

import numpy as np
import pytest

from pylatent.evaluation import bd_rate

A = [(0.1, 28.0), (0.2, 30.1), (0.35, 31.7), (0.6, 33.9), (1.0, 36.0), (1.5, 37.1)]
B = [(0.15, 27.0), (0.3, 30.0), (0.5, 31.6), (0.9, 34.4), (1.6, 37.9)]
NOT_MONOTONE = [(0.5, 30.0), (0.4, 31.0), (0.9, 33.0)]


def test_a_constant_factor_is_its_own_bd_rate():
    fifth_less = [(0.8 * rate, quality) for rate, quality in A]
    assert bd_rate(fifth_less, A) == pytest.approx(-20, abs=1e-9)
    assert bd_rate(A, fifth_less) == pytest.approx(25, abs=1e-9)
    assert bd_rate(A, A) == 0


def test_two_points_each_is_a_straight_line():
    # ln rate: curve t ln 2, anchor 0.5 t ln 2 over t in [0, 1]; over t in [0.5, 1] the mean difference is 0.375 ln 2.
    curve = [(1.0, 30.0), (2.0, 31.0)]
    assert bd_rate(curve, [(1.0, 30.0), (math.sqrt(2), 31.0)]) == pytest.approx(100 * (2**0.25 - 1))
    assert bd_rate(curve, [(2**0.25, 30.5), (math.sqrt(2), 31.0)]) == pytest.approx(100 * (2**0.375 - 1))


def test_order_of_the_points_does_not_matter():
    assert bd_rate(A[::-1], [B[2], B[0], B[4], B[1], B[3]]) == bd_rate(A, B)


# Values of scipy 1.17 PchipInterpolator over sorted PSNR, integrated by its own `integrate`.
@pytest.mark.parametrize(
    ("curve", "anchor", "want"),
    [(A, B, -29.043033264079554), (B, A, 40.930488717434336), (NOT_MONOTONE, A, 53.46339166716886)],
    ids=["a_b", "b_a", "not_monotone"],
)
def test_recorded_scipy_values(curve, anchor, want):
    assert bd_rate(curve, anchor) == pytest.approx(want, rel=1e-10)


def test_scipy_on_random_curves():
    pchip = pytest.importorskip("scipy.interpolate").PchipInterpolator
    rng = np.random.default_rng(5)
    for count in range(2, 12):
        curves = [np.stack([rng.uniform(0.1, 2, count), 30 + rng.uniform(0, 9, count).cumsum()], 1) for _ in range(2)]
        fits = [pchip(c[:, 1], np.log(c[:, 0])) for c in curves]
        low, high = max(c[0, 1] for c in curves), min(c[-1, 1] for c in curves)
        if low >= high:
            continue
        difference = (fits[0].integrate(low, high) - fits[1].integrate(low, high)) / (high - low)
        assert bd_rate(*curves) == pytest.approx(100 * np.expm1(difference), rel=1e-9)


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        ([(0.1, 30.0)], "at least two"),
        ([(0.1, 30.0), (0.2, math.inf)], "finite PSNR"),
        ([(0.0, 30.0), (0.2, 31.0)], "rates above 0"),
        ([(0.1, 30.0), (0.2, 30.0)], "equal PSNR"),
        ([(0.1, 10.0), (0.2, 12.0)], "share no PSNR range: `curve` covers 10.00 to 12.00 dB"),
    ],
    ids=["one_point", "infinite", "zero_rate", "equal_psnr", "no_overlap"],
)
def test_curves_that_cannot_be_compared(curve, message):
    with pytest.raises(ValueError, match=message):
        bd_rate(curve, A)
