"""What plots and tables show of a point beside its rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pylatent.evaluation.curves import Point


@dataclass(frozen=True)
class Measure:
    """title: of an axis; of: a point's value, None where there is none to draw; unit: follows a value in a tip."""

    title: str
    of: Callable[[Point], float | None]
    unit: str = ""

    def text(self, value: float) -> str:
        return f"{value:.2f}{self.unit}" if self.unit else f"{value:.4g}"


def _finite_psnr(point: Point) -> float | None:
    return point.psnr if math.isfinite(point.psnr) else None


def _ms_ssim_db(point: Point) -> float | None:
    return None if point.ms_ssim is None or point.ms_ssim >= 1 else -10 * math.log10(1 - point.ms_ssim)


PSNR = Measure("PSNR of RGB, dB", _finite_psnr, " dB")
MS_SSIM = Measure("MS-SSIM, dB", _ms_ssim_db, " dB")
"""MS-SSIM in dB, -10 log10(1 - x), where differences near 1 can be seen."""


def further(names: Iterable[str]) -> list[Measure]:
    """Of what points hold in `more`, by name."""

    def of(name: str) -> Callable[[Point], float | None]:
        return lambda point: point.more.get(name)

    return [Measure(name, of(name)) for name in names]
