"""The one check of a quality, without torch."""

from __future__ import annotations

from numbers import Real


def check_quality(model: str, qualities: tuple[float, float] | None, quality: float | None) -> None:
    """Raises ValueError unless a model with this range of qualities (None: a fixed rate) can code at `quality`,
    TypeError if that is no number.

    None is always right: it stands for the model's own.
    """
    if quality is None:
        return
    if not isinstance(quality, Real):
        raise TypeError(f"the quality must be a number, got {quality!r}")
    if qualities is None:
        raise ValueError(f"model {model} has one fixed rate: no quality can be given")
    lowest, highest = qualities
    if not lowest <= quality <= highest:
        raise ValueError(f"the quality must be from {lowest:g} to {highest:g} for {model}, got {quality:g}")


def spread(qualities: tuple[float, float] | None, step: int = 1) -> list[float | None]:
    """Whole qualities from a model's lowest on, in steps of `step`; the one None of a model with a fixed rate."""
    return [None] if qualities is None else [*map(float, range(round(qualities[0]), round(qualities[1]) + 1, step))]
