"""A set of pictures under a codec and its baselines: every point, the means and the BD-rates, as one JSON document."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import PIL
import torch
from torch import Tensor

import pylatent
from pylatent.codecs.base import Codec
from pylatent.evaluation.classical import ClassicalCodec
from pylatent.evaluation.curves import BdRate, Curve, Point, compare, mean_curve
from pylatent.evaluation.measure import measure, measure_classical
from pylatent.evaluation.metrics import PatchSets, PictureMetric, numbers
from pylatent.refine.plan import Plan


@dataclass(frozen=True)
class PictureReport:
    """One picture: `curve` of the codec, one for each baseline, by its name, and one with refinement, if asked for."""

    name: str
    width: int
    height: int
    curve: Curve
    baselines: dict[str, Curve]
    refined: Curve = ()


@dataclass(frozen=True)
class Report:
    """A set of pictures, all measured at the same qualities."""

    model: str
    model_hash: str
    baselines: tuple[ClassicalCodec, ...]
    pictures: tuple[PictureReport, ...]
    metrics: Mapping[str, str] = field(default_factory=dict)
    """What was measured beside PSNR and MS-SSIM, and by what: of every picture first, then of the set."""
    of_set: Mapping[tuple[str, float | None], Mapping[str, float | None]] = field(default_factory=dict)
    """Metrics of the set by side ("codec", "refined" or a baseline's name) and quality."""

    @property
    def mean(self) -> list[Point]:
        """The codec's mean over the pictures at each quality, with the metrics of the set."""
        return self._mean("codec", [picture.curve for picture in self.pictures])

    def baseline_mean(self, name: str) -> list[Point]:
        """The mean over the pictures of the baseline of that name."""
        return self._mean(name, [picture.baselines[name] for picture in self.pictures])

    def _mean(self, side: str, curves: Sequence[Curve]) -> list[Point]:
        points = mean_curve(curves)
        return [replace(point, more={**point.more, **self.of_set.get((side, point.quality), {})}) for point in points]

    @property
    def picture_metrics(self) -> list[str]:
        """Names of those metrics that every picture has."""
        return list(self.pictures[0].curve[0].more)

    def bd_rate(self, name: str) -> BdRate:
        """The codec's BD-rate against the baseline of that name."""
        return compare([p.curve for p in self.pictures], [p.baselines[name] for p in self.pictures])

    @property
    def is_refined(self) -> bool:
        """Whether the pictures were measured with refinement too."""
        return bool(self.pictures[0].refined)

    @property
    def refined_mean(self) -> list[Point]:
        """The codec's mean over the pictures at each quality, with refinement."""
        return self._mean("refined", [picture.refined for picture in self.pictures])

    def refined_bd_rate(self, name: str | None = None) -> BdRate:
        """The BD-rate of the codec with refinement against itself without, or against the baseline of that name."""
        anchors = [p.curve if name is None else p.baselines[name] for p in self.pictures]
        return compare([p.refined for p in self.pictures], anchors)

    @property
    def mismatches(self) -> int:
        """How many times decoding did not give what was encoded."""
        return sum(point.exact is False for p in self.pictures for point in (*p.curve, *p.refined))

    def to_json(self) -> dict[str, Any]:
        """The whole as plain values. An infinite PSNR is null, as JSON knows no infinity."""
        return {
            "model": self.model,
            "model_hash": self.model_hash,
            "environment": {
                "pylatent": pylatent.__version__,
                "torch": torch.__version__,
                "pillow": PIL.__version__,
                "cpu": _cpu_name(),
                "threads": torch.get_num_threads(),
            },
            **({"metrics": dict(self.metrics)} if self.metrics else {}),
            "baselines": {baseline.name: baseline.describe() for baseline in self.baselines},
            "bd_rate_percent": {baseline.name: asdict(self.bd_rate(baseline.name)) for baseline in self.baselines},
            **({"refined_bd_rate_percent": self._refined_bd_rates()} if self.is_refined else {}),
            "mean": {
                "codec": _plain(self.mean),
                **({"refined": _plain(self.refined_mean)} if self.is_refined else {}),
                **{baseline.name: _plain(self.baseline_mean(baseline.name)) for baseline in self.baselines},
            },
            "pictures": [
                {
                    "name": picture.name,
                    "width": picture.width,
                    "height": picture.height,
                    "codec": _plain(picture.curve),
                    **({"refined": _plain(picture.refined)} if self.is_refined else {}),
                    **{name: _plain(curve) for name, curve in picture.baselines.items()},
                }
                for picture in self.pictures
            ],
        }

    def _refined_bd_rates(self) -> dict[str, Any]:
        rates = {baseline.name: asdict(self.refined_bd_rate(baseline.name)) for baseline in self.baselines}
        return {"unrefined": asdict(self.refined_bd_rate()), **rates}


def evaluate(
    codec: Codec,
    pictures: Iterable[tuple[str, Tensor]],
    qualities: Sequence[float | None],
    *,
    baselines: Sequence[ClassicalCodec] = (),
    plan: Plan | None = None,
    repeats: int = 1,
    metrics: Sequence[PictureMetric] = (),
    sets: PatchSets | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Report:
    """Measures every picture (name, (3, H, W) uint8) at every quality; `advance` is called after each measurement.

    With a plan, every quality is measured a second time, refined (and encoded once only, whatever `repeats` says). A
    codec of fixed rate takes the one quality None. metrics, sets: what else to measure (`metrics.load_metrics`). Raises
    `ValueError` when there is nothing to measure.
    """
    reports: list[PictureReport] = []
    keys: list[tuple[str, float | None]] = []
    for name, picture in pictures:
        if not reports:
            measure(codec, picture, qualities[0])  # caches, threads and buffers settle outside the first measurement
        against = {metric.name: metric.against(picture) for metric in metrics}
        if sets is not None:
            sets.add_original(picture)

        def look(side: str, quality: float | None, decoded: Tensor, against=against) -> Mapping[str, float | None]:
            if sets is not None:
                sets.add((side, quality), decoded)
                keys.append((side, quality))
            return numbers(against, decoded)

        curve = []
        for quality in qualities:
            seen = partial(look, "codec", quality)
            curve.append(measure(codec, picture, quality, repeats=repeats, look=seen))
            advance()
        refined = []
        for quality in qualities if plan is not None else ():
            refined.append(measure(codec, picture, quality, plan=plan, look=partial(look, "refined", quality)))
            advance()
        curves: dict[str, Curve] = {}
        for baseline in baselines:
            curves[baseline.name] = measure_classical(baseline, picture, look=partial(look, baseline.name))
            advance()
        reports.append(PictureReport(name, picture.shape[2], picture.shape[1], curve, curves, refined))
    if not reports:
        raise ValueError("there are no pictures to evaluate")
    used = {metric.name: metric.what for metric in metrics} | ({} if sets is None else sets.what())
    of_set = {} if sets is None else {key: sets.values(key) for key in dict.fromkeys(keys)}
    return Report(codec.name, codec.fingerprint()[:8].hex(), tuple(baselines), tuple(reports), used, of_set)


def _cpu_name() -> str:
    """The processor's own name where Linux tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _plain(curve: Curve) -> list[dict[str, Any]]:
    return [{**asdict(point), "psnr": point.psnr if math.isfinite(point.psnr) else None} for point in curve]
