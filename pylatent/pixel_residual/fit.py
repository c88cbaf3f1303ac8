"""What the encoder chooses: weights by least squares over a sample, and the table of every class by what it costs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pylatent.pixel_residual.context import CLASSES, UNIT_BITS
from pylatent.pixel_residual.tables import LARGEST, costs

SAMPLE = 8192
_LARGEST_ERROR = 60  # that counts: outliers would rule the sum of squares


def fit(values: Tensor, wanted: Tensor, chosen: Tensor, *, ridge: float, lowest: int = -127) -> Tensor:
    """Weights (J,), integers over 2^UNIT_BITS from `lowest` to 127, with which `values` (J, n) add up to `wanted` (n,)
    at the positions `chosen`, in the least squares."""
    some = chosen[:: -(-len(chosen) // SAMPLE)]
    sample, goal = values[:, some].double().numpy(), wanted[some].double().numpy()
    weights = _solve(sample @ sample.T, sample @ goal, ridge)  # sums of integers, the same in any order
    return torch.from_numpy(np.clip(np.round(weights * (1 << UNIT_BITS)), lowest, 127)).float()


def fit_sizes(signs: Tensor, errors: Tensor) -> Tensor:
    """As `fit`, of the sizes of errors, with no weight below 0."""
    everything = torch.arange(len(errors))
    return fit(signs, errors.abs().clamp(max=_LARGEST_ERROR), everything, ridge=1e-2, lowest=0)


def choose_tables(symbols: Tensor, classes: Tensor) -> Tensor:
    """The cheapest table of every class, (CLASSES,) int64; 0 where a class has no symbols."""
    low = int(symbols.min())
    width = int(symbols.max()) - low + 1
    places = classes * width + (symbols - low)
    counts = torch.bincount(places, minlength=CLASSES * width).view(CLASSES, width).numpy()
    chosen, occupied = np.zeros(CLASSES, np.int64), np.flatnonzero(counts.any(1))
    chosen[occupied] = np.argmin(counts[occupied] @ costs()[:, low + LARGEST :][:, :width].T, axis=1)
    return torch.from_numpy(chosen)


def _solve(matrix: np.ndarray, right: np.ndarray, ridge: float) -> np.ndarray:
    """By elimination, element by element, so that every machine rounds alike. matrix: symmetric, not negative."""
    n = len(right)
    rows = np.concatenate([matrix, right[:, None]], axis=1)
    rows[np.arange(n), np.arange(n)] += ridge * matrix.diagonal() + 1e-3
    for at in range(n):
        rows[at] /= rows[at, at]
        factors = rows[:, at].copy()
        factors[at] = 0
        rows -= factors[:, None] * rows[at]
    return rows[:, -1]
