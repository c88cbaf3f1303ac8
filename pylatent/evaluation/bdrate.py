"""Bjontegaard delta rate: the mean difference in rate between two codecs at equal PSNR.

Bjontegaard (VCEG-M33, 2001) fits log-rate as a function of PSNR and integrates the difference over the PSNR range that
both curves cover. The fit here is the monotone piecewise cubic of Fritsch and Butland (1984), "PCHIP", which later
standards documents use in place of the single cubic, since it neither overshoots nor needs exactly four points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def bd_rate(curve: ArrayLike, anchor: ArrayLike) -> float:
    """Mean rate of `curve` relative to `anchor` at equal PSNR, in percent; negative when `curve` needs fewer bits.

    Each curve holds at least two (rate, PSNR) points in any order: rates positive and in one unit (bpp, say), PSNR in
    dB, finite and without repetitions. Any other quality measure that grows with the rate does as well.

    Raises `ValueError` for curves that do not meet this, or whose PSNR ranges do not overlap.
    """
    rate_a, psnr_a = _checked(curve, "curve")
    rate_b, psnr_b = _checked(anchor, "anchor")
    low, high = max(psnr_a[0], psnr_b[0]), min(psnr_a[-1], psnr_b[-1])
    if low >= high:
        raise ValueError(
            f"the curves share no PSNR range: `curve` covers {psnr_a[0]:.2f} to {psnr_a[-1]:.2f} dB, "
            f"`anchor` {psnr_b[0]:.2f} to {psnr_b[-1]:.2f} dB; add points to one of them"
        )
    area_a = _integral(psnr_a, np.log(rate_a), low, high)
    area_b = _integral(psnr_b, np.log(rate_b), low, high)
    return float(100 * np.expm1((area_a - area_b) / (high - low)))


def _checked(curve: ArrayLike, name: str) -> tuple[NDArray, NDArray]:
    points = np.asarray(curve, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2:
        raise ValueError(f"`{name}` must hold at least two (rate, PSNR) pairs, got shape {points.shape}")
    points = points[np.argsort(points[:, 1])]
    rate, psnr = points[:, 0], points[:, 1]
    if not np.isfinite(points).all() or (rate <= 0).any():
        raise ValueError(f"`{name}` must have finite PSNR and finite rates above 0, got {points.tolist()}")
    if (np.diff(psnr) == 0).any():
        raise ValueError(f"`{name}` has two points of equal PSNR; keep the one of lower rate: {points.tolist()}")
    return rate, psnr


def _integral(x: NDArray, y: NDArray, low: float, high: float) -> float:
    """Integral from `low` to `high` of the monotone cubic through (x, y); x increasing, both limits inside it."""
    slope = _slopes(x, y)
    total = 0.0
    for k in range(len(x) - 1):
        start, stop = max(low, x[k]), min(high, x[k + 1])
        if start >= stop:
            continue
        h = x[k + 1] - x[k]
        secant = (y[k + 1] - y[k]) / h
        # y[k] + s t + c t² + d t³ with t measured from x[k].
        c = (3 * secant - 2 * slope[k] - slope[k + 1]) / h
        d = (slope[k] + slope[k + 1] - 2 * secant) / h**2
        integral = np.polynomial.Polynomial([0.0, y[k], slope[k] / 2, c / 3, d / 4])
        total += integral(stop - x[k]) - integral(start - x[k])
    return float(total)


def _slopes(x: NDArray, y: NDArray) -> NDArray:
    """Slopes at the knots: a weighted harmonic mean of the neighbouring secants, 0 where their signs differ."""
    h, secant = np.diff(x), np.diff(y) / np.diff(x)
    if len(x) == 2:
        return np.repeat(secant, 2)
    slope = np.zeros_like(x)
    w_left, w_right = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    same_sign = secant[:-1] * secant[1:] > 0
    left, right = secant[:-1][same_sign], secant[1:][same_sign]
    w_left, w_right = w_left[same_sign], w_right[same_sign]
    slope[1:-1][same_sign] = (w_left + w_right) / (w_left / left + w_right / right)
    slope[0] = _end_slope(h[0], h[1], secant[0], secant[1])
    slope[-1] = _end_slope(h[-1], h[-2], secant[-1], secant[-2])
    return slope


def _end_slope(h0: float, h1: float, secant0: float, secant1: float) -> float:
    """Three-point estimate at an end, limited so that the first piece keeps the sign and stays monotone."""
    slope = ((2 * h0 + h1) * secant0 - h0 * secant1) / (h0 + h1)
    if slope * secant0 <= 0:
        return 0.0
    if secant0 * secant1 <= 0 and abs(slope) > 3 * abs(secant0):
        return 3 * secant0
    return slope
