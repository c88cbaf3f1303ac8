"""Temperature of the relaxed rounding, falling from soft to hard (Yang et al. 2020, §3.3; SGA+, §4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

LOWEST = 0.05
_AT_THE_END = 1.4  # tau = exp(-1.4) = 0.25 after the last step; 0.135 gave 0.4 % less in 500 steps


@dataclass(frozen=True)
class Annealing:
    """tau(t) = min(exp(-decay * t), highest), never below 0.05.

    decay: per step; None scales it to the run, 1.4 / steps, so that every run ends at 0.25. The papers' 1e-3 leaves a
    run of 500 steps at 0.61. highest: 1 in the SGA+ paper; with 0.5 the curve is that of the SGA paper for any decay.
    """

    highest: float = 1.0
    decay: float | None = None

    def __post_init__(self) -> None:
        if not LOWEST <= self.highest <= 1:
            raise ValueError(f"`highest` must be from {LOWEST} to 1, got {self.highest}")
        if self.decay is not None and not 0 <= self.decay < math.inf:
            raise ValueError(f"`decay` must be finite and not negative, got {self.decay}")

    def at(self, step: float, steps: int) -> float:
        """The temperature at a step (fractions welcome) of a run of `steps`."""
        decay = _AT_THE_END / steps if self.decay is None else self.decay
        return max(LOWEST, min(math.exp(-decay * step), self.highest))
