"""The search over the quality grid finds the best grid point, within its tolerance, in few evaluations."""

import math

import pytest

from pylatent.rate_control import find_quality

CURVES = {
    "exponential": lambda q: 0.05 * math.exp(0.5 * q),
    "linear": lambda q: 26 + 1.7 * q,
    "steep end": lambda q: 1 + (q / 8) ** 20,
    "steps": lambda q: math.floor(q * 4) / 4 + 1e-6 * q,
}


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
@pytest.mark.parametrize("at_most", [True, False])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.77, 0.999])
def test_against_exhaustive_search(curve, at_most, share):
    grid = [step / 64 for step in range(64, 513)]
    target = curve(1) + share * (curve(8) - curve(1))
    asked = []

    def measure(quality):
        asked.append(quality)
        return curve(quality)

    found = find_quality(measure, target, (1.0, 8.0), at_most=at_most, tolerance=0)
    best = max(q for q in grid if curve(q) <= target) if at_most else min(q for q in grid if curve(q) >= target)
    assert curve(found) == pytest.approx(curve(best), abs=1e-4)
    assert len(asked) == len(set(asked)) <= 22


def test_infinite_values_do_not_make_it_creep():
    asked = []

    def measure(quality):
        asked.append(quality)
        return 20 + quality if quality < 5 else math.inf

    assert find_quality(measure, 40.0, (1.0, 8.0), at_most=False, tolerance=0) == 5
    assert len(asked) <= 22


def test_few_evaluations_within_a_tolerance():
    asked = []

    def measure(quality):
        asked.append(quality)
        return CURVES["exponential"](quality)

    found = find_quality(measure, 0.5, (1.0, 8.0), at_most=True, tolerance=0.005)
    assert 0.495 <= CURVES["exponential"](found) <= 0.5
    assert len(asked) <= 9


@pytest.mark.parametrize("at_most", [True, False])
@pytest.mark.parametrize(("target", "expected"), [(-5.0, 1.0), (1.0, 1.0), (8.0, 8.0), (99.0, 8.0)])
def test_targets_out_of_reach_give_the_nearer_end(at_most, target, expected):
    assert find_quality(lambda q: q, target, (1.0, 8.0), at_most=at_most, tolerance=0) == expected
