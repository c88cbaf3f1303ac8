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


def bootstrap(
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    groups: Sequence[object] | npt.ArrayLike,
    metric: Callable[[npt.ArrayLike], Floats] = balanced_accuracy,
    *,
    against: npt.ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 4000,
    seed: int = 0,
) -> Interval:
    """A metric's interval, or with `against` (other predictions for the same items) that of the paired difference.

    Whole groups (source pictures, plates) are drawn with replacement, since items of one group are not independent.
    """
    labels = np.asarray(labels)
    sides = [np.asarray(predictions)] + ([] if against is None else [np.asarray(against)])
    classes = int(max(values.max() for values in (labels, *sides))) + 1
    _, members = np.unique(np.asarray(groups), return_inverse=True)
    count = int(members.max()) + 1
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    values, sampled = [], []
    for side in sides:
        confusion(labels, side, classes)  # checks
        cells = (members * classes + labels) * classes + side
        table = np.bincount(cells, minlength=count * classes**2).reshape(count, classes**2)
        values.append(float(metric(table.sum(0).reshape(classes, classes))))
        sampled.append(metric((draws @ table).reshape(resamples, classes, classes)))
    value = values[0] - (values[1] if against is not None else 0.0)
    differences = sampled[0] - (sampled[1] if against is not None else 0.0)
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
