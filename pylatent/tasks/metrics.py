"""Accuracy, balanced accuracy, confusion matrices, and paired bootstrap intervals that resample whole groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.floating]


def confusion(labels: npt.ArrayLike, predictions: npt.ArrayLike, classes: int) -> Ints:
    """(classes, classes) counts: row = label, column = prediction. Raises ValueError for a class out of range."""
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ValueError(f"`predictions` must have the labels' shape {labels.shape}, got {predictions.shape}")
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(f"`{name}` must be from 0 to {classes - 1}, got {values.min()} to {values.max()}")
    return np.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)


def accuracy(matrix: npt.ArrayLike) -> Floats:
    """Share of right predictions, of one confusion matrix or of several (..., K, K)."""
    matrix = np.asarray(matrix)
    return np.trace(matrix, axis1=-2, axis2=-1) / np.maximum(matrix.sum((-2, -1)), 1)


def balanced_accuracy(matrix: npt.ArrayLike) -> Floats:
    """Mean over the classes that occur of the share of each that was recognised; (..., K, K) -> (...)."""
    matrix = np.asarray(matrix)
    total = matrix.sum(-1)
    recall = np.diagonal(matrix, axis1=-2, axis2=-1) / np.maximum(total, 1)
    return recall.sum(-1) / np.maximum((total > 0).sum(-1), 1)


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its percentile bootstrap interval."""

    value: float
    low: float
    high: float


def resampled(
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    groups: Sequence[object] | npt.ArrayLike,
    metric: Callable[[npt.ArrayLike], Floats] = balanced_accuracy,
    *,
    resamples: int = 4000,
    seed: int = 0,
) -> tuple[float, Floats]:
    """A metric, and its values (resamples,) on items of groups drawn with replacement.

    Whole groups (source pictures, plates) are drawn, since items of one group are not independent. Calls with the same
    labels, groups and seed draw the same ones, so that their values are paired: subtract them.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    classes = int(max(labels.max(), predictions.max())) + 1
    confusion(labels, predictions, classes)  # checks
    _, members = np.unique(np.asarray(groups), return_inverse=True)
    count = int(members.max()) + 1
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    cells = (members * classes + labels) * classes + predictions
    table = np.bincount(cells, minlength=count * classes**2).reshape(count, classes**2)
    value = float(metric(table.sum(0).reshape(classes, classes)))
    return value, metric((draws @ table).reshape(resamples, classes, classes))


def bootstrap(
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    groups: Sequence[object] | npt.ArrayLike,
    metric: Callable[[npt.ArrayLike], Floats] = balanced_accuracy,
    *,
    against: npt.ArrayLike | None = None,
    resamples: int = 4000,
    seed: int = 0,
) -> Interval:
    """A metric's 95 % interval, or with `against` (other predictions for the same items) that of the difference."""
    value, values = resampled(labels, predictions, groups, metric, resamples=resamples, seed=seed)
    if against is not None:
        other, others = resampled(labels, against, groups, metric, resamples=resamples, seed=seed)
        value, values = value - other, values - others
    return interval(value, values)


def interval(value: float, values: Floats, level: float = 0.95) -> Interval:
    """The percentile interval of resampled values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
