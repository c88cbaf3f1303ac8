"""A set of pictures under a codec and its baselines: every point, the means and the BD-rates, as one JSON document."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import PIL
import torch
from torch import Tensor

import pylatent
from pylatent._receivers import Receiver
from pylatent.codecs.base import Codec
from pylatent.evaluation.classical import ClassicalCodec
from pylatent.evaluation.curves import BdRate, Curve, Point, compare, mean_curve
from pylatent.evaluation.measure import measure, measure_classical, round_trip, trip_point
from pylatent.evaluation.metrics import PatchSets, PictureMetric, numbers
from pylatent.evaluation.ways import Way, ways_of
from pylatent.refine.plan import Plan

Side: TypeAlias = "Way | str"
"""A way of using the codec, or the name of a baseline."""


@dataclass(frozen=True)
class PictureReport:
    """One picture: a curve of the codec for each way of using it, and one for each baseline, by its name."""

    name: str
    width: int
    height: int
    curves: Mapping[Way, Curve]
    baselines: Mapping[str, Curve]


@dataclass(frozen=True)
class Report:
    """A set of pictures, all measured at the same qualities. ways: of using the codec, the subject first."""

    model: str
    model_hash: str
    ways: tuple[Way, ...]
    baselines: tuple[ClassicalCodec, ...]
    pictures: tuple[PictureReport, ...]
    metrics: Mapping[str, str] = field(default_factory=dict)
    """What was measured beside PSNR and MS-SSIM, and by what: of every picture first, then of the set."""
    of_set: Mapping[tuple[Side, float | None], Mapping[str, float | None]] = field(default_factory=dict)
    """Metrics of the set by side and quality."""

    def curves(self, side: Side) -> list[Curve]:
        """Of every picture, by a way of using the codec, or by the baseline of that name."""
        if isinstance(side, Way):
            return [picture.curves[side] for picture in self.pictures]
        return [picture.baselines[side] for picture in self.pictures]

    def mean_of(self, side: Side) -> list[Point]:
        """The mean over the pictures at each quality, with the metrics of the set."""
        points = mean_curve(self.curves(side))
        return [replace(point, more={**point.more, **self.of_set.get((side, point.quality), {})}) for point in points]

    @property
    def mean(self) -> list[Point]:
        """The subject's."""
        return self.mean_of(self.ways[0])

    @property
    def picture_metrics(self) -> list[str]:
        """Names of those metrics that every picture has."""
        return list(self.curves(self.ways[0])[0][0].more)

    def bd_rate(self, anchor: Side, way: Way | None = None) -> BdRate:
        """Of a way of using the codec, the subject if None, against another, or the baseline of that name."""
        return compare(self.curves(way or self.ways[0]), self.curves(anchor))

    def anchors(self, way: Way) -> list[Side]:
        """What BD-rates of a way are told against: refined ones against unrefined ones, other receivers against the
        subject, and all against the baselines."""
        other = replace(way, refined=False) if way.refined else self.ways[0]
        return [*([other] if other != way else []), *(baseline.name for baseline in self.baselines)]

    def name_of(self, side: Side) -> str:
        """In tables and legends."""
        return side.name(self.model, self.ways) if isinstance(side, Way) else side

    @property
    def mismatches(self) -> int:
        """How many files did not decode to what was encoded; receivers share them."""
        files = [way for way in self.ways if way.receiver == self.ways[0].receiver]
        return sum(point.exact is False for way in files for curve in self.curves(way) for point in curve)

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
            **{self._prefix(way) + "bd_rate_percent": self._bd_rates(way) for way in self.ways},
            "mean": {
                **{way.key: _plain(self.mean_of(way)) for way in self.ways},
                **{baseline.name: _plain(self.mean_of(baseline.name)) for baseline in self.baselines},
            },
            "pictures": [
                {
                    "name": picture.name,
                    "width": picture.width,
                    "height": picture.height,
                    **{way.key: _plain(curve) for way, curve in picture.curves.items()},
                    **{name: _plain(curve) for name, curve in picture.baselines.items()},
                }
                for picture in self.pictures
            ],
        }

    def _prefix(self, way: Way) -> str:
        return "" if way == self.ways[0] else f"{way.key.replace(' ', '_')}_"

    def _bd_rates(self, way: Way) -> dict[str, Any]:
        def key(anchor: Side) -> str:
            return anchor if isinstance(anchor, str) else "unrefined" if way.refined else anchor.key

        return {key(anchor): asdict(self.bd_rate(anchor, way)) for anchor in self.anchors(way)}


def evaluate(
    codec: Codec,
    pictures: Iterable[tuple[str, Tensor]],
    qualities: Sequence[float | None],
    *,
    receivers: Sequence[Receiver] = ("full",),
    baselines: Sequence[ClassicalCodec] = (),
    plan: Plan | None = None,
    repeats: int = 1,
    metrics: Sequence[PictureMetric] = (),
    sets: PatchSets | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Report:
    """Measures every picture (name, (3, H, W) uint8) at every quality; `advance` is called after each measurement.

    Files are shown by each of the receivers; the first is the subject. With a plan, every quality is measured a second
    time, refined (and encoded once only, whatever `repeats` says). A codec of fixed rate takes the one quality None.
    metrics, sets: what else to measure (`metrics.load_metrics`). Raises `ValueError` when there is nothing to measure,
    ModelError for a receiver that the model does not have.
    """
    for receiver in receivers:
        codec.check_receiver(receiver)
    ways = ways_of(receivers, refined=plan is not None)
    reports: list[PictureReport] = []
    keys: list[tuple[Side, float | None]] = []
    for name, picture in pictures:
        if not reports:
            measure(codec, picture, qualities[0])  # caches, threads and buffers settle outside the first measurement
        against = {metric.name: metric.against(picture) for metric in metrics}
        if sets is not None:
            sets.add_original(picture)

        def look(side: Side, quality: float | None, decoded: Tensor, against=against) -> Mapping[str, float | None]:
            if sets is not None:
                sets.add((side, quality), decoded)
                keys.append((side, quality))
            return numbers(against, decoded)

        curves: dict[Way, list[Point]] = {way: [] for way in ways}
        for refined in (False, True) if plan is not None else (False,):
            plan_of, times = (plan, 1) if refined else (None, repeats)
            for quality in qualities:
                trip = round_trip(codec, picture, quality, receivers=receivers, plan=plan_of, repeats=times)
                for receiver in receivers:
                    way = Way(receiver, refined)
                    seen = partial(look, way, quality)
                    curves[way].append(trip_point(trip, picture, quality, seen, receiver=receiver))
                advance()
        others: dict[str, Curve] = {}
        for baseline in baselines:
            others[baseline.name] = measure_classical(baseline, picture, look=partial(look, baseline.name))
            advance()
        reports.append(PictureReport(name, picture.shape[2], picture.shape[1], curves, others))
    if not reports:
        raise ValueError("there are no pictures to evaluate")
    used = {metric.name: metric.what for metric in metrics} | ({} if sets is None else sets.what())
    of_set = {} if sets is None else {key: sets.values(key) for key in dict.fromkeys(keys)}
    return Report(codec.name, codec.fingerprint()[:8].hex(), ways, tuple(baselines), tuple(reports), used, of_set)


def _cpu_name() -> str:
    """The processor's own name where Linux tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _plain(curve: Curve) -> list[dict[str, Any]]:
    return [{**asdict(point), "psnr": point.psnr if math.isfinite(point.psnr) else None} for point in curve]
