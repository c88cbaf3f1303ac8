"""The one check of a quality, without torch."""

from __future__ import annotations


def check_quality(model: str, qualities: tuple[float, float] | None, quality: float | None) -> None:
    """Raises ValueError unless a model with this range of qualities (None: a fixed rate) can code at `quality`.

    None is always right: it stands for the model's own.
    """
    if quality is None:
        return
    if qualities is None:
        raise ValueError(f"model {model} has one fixed rate: no quality can be given")
    lowest, highest = qualities
    if not lowest <= quality <= highest:
        raise ValueError(f"the quality must be from {lowest:g} to {highest:g} for {model}, got {quality:g}")
