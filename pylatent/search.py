"""Finding the quality that gives a wanted file size or PSNR, by secant steps."""

from __future__ import annotations

import math
from collections.abc import Callable

from pylatent.coding.container import QUALITY_STEPS


def find_quality(
    measure: Callable[[float], float],
    target: float,
    qualities: tuple[float, float],
    *,
    at_most: bool,
    tolerance: float,
) -> float:
    """The quality whose `measure`, which grows with it, comes closest to `target` from the wanted side.

    at_most: the highest quality with measure <= target (file size); otherwise the lowest with measure >= target (PSNR).
    tolerance: the search ends early at a measure on the wanted side that is off by no more than this.
    Where even the ends of `qualities` do not reach the target, the nearer end is returned. `measure` is called about
    five times where it is nearly linear, at most twenty, and never twice for one quality.
    """
    low, high = (round(quality * QUALITY_STEPS) for quality in qualities)
    below, above = measure(low / QUALITY_STEPS) - target, measure(high / QUALITY_STEPS) - target
    if below >= 0 or above <= 0:
        return (low if below >= 0 else high) / QUALITY_STEPS
    # Invariant: measure(low) < target < measure(high); `below` and `above` are those distances.
    bisect = False
    while high - low > 1:
        width = high - low
        if bisect or math.isinf(above):
            probe = low + width // 2
        else:
            probe = min(max(low + round(width * below / (below - above)), low + 1), high - 1)
        distance = measure(probe / QUALITY_STEPS) - target
        if distance == 0 or ((distance < 0) == at_most and abs(distance) <= tolerance):
            return probe / QUALITY_STEPS
        if distance < 0:
            low, below = probe, distance
        else:
            high, above = probe, distance
        # A secant step that leaves most of the bracket is followed by a bisection.
        bisect = high - low > width // 2
    return (low if at_most else high) / QUALITY_STEPS


def find_near(
    measure: Callable[[float], float],
    target: float,
    start: float,
    slope: float,
    *,
    at_most: bool,
    tolerance: float,
    tries: int = 4,
) -> float:
    """As `find_quality` where a measurement is dear: from a good start and without ends, in at most `tries` of them.

    slope: first guess of what `measure` grows by from one quality to the next. Returns the position measured closest to
    `target` from the wanted side, or closest to it if none was on that side.
    """
    distances: dict[float, float] = {}
    position = start
    for _ in range(tries):
        distances[position] = distance = measure(position) - target
        if (distance <= 0) == at_most and abs(distance) <= tolerance:
            break
        if len(distances) > 1:
            (p, a), (q, b) = list(distances.items())[-2:]
            slope = min(max((b - a) / (q - p), slope / 3), slope * 3)
        # Aims at the middle of the tolerance; steps of more than two qualities are not to be trusted.
        aim = -tolerance / 2 if at_most else tolerance / 2
        step = min(max((aim - distance) / slope, -2.0), 2.0)
        position = round((position + step) * QUALITY_STEPS) / QUALITY_STEPS
        if position in distances:
            break
    wanted = [p for p, distance in distances.items() if (distance <= 0) == at_most]
    return min(wanted or distances, key=lambda p: abs(distances[p]))
