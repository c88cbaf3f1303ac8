"""The page of a set of pictures that `evaluate` measured: means, Bjontegaard rates, and every picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from torch import Tensor

from pylatent import images
from pylatent._text import bytes_text, count
from pylatent.evaluation.curves import BdRate, Curve, Point
from pylatent.evaluation.html.page import (
    document,
    embedded,
    legend,
    ms_ssim_text,
    number_text,
    percent_text,
    psnr_text,
    table,
)
from pylatent.evaluation.html.plot import rate_plot
from pylatent.evaluation.measures import PSNR, further
from pylatent.evaluation.report import PictureReport, Report, Side


def report_page(report: Report, thumbnails: Sequence[bytes]) -> str:
    """The HTML file. `thumbnails`: a small JPEG file of each picture (`thumbnail`)."""
    sides: list[Side] = [*report.ways, *(baseline.name for baseline in report.baselines)]
    names = [report.name_of(side) for side in sides]
    curves = [report.mean_of(side) for side in sides]
    facts = count(len(report.pictures), "picture")
    body = [f"<header><h1>{escape(report.model)}</h1><p>{facts} · hash {report.model_hash}</p></header>"]
    if report.mismatches:
        body.append(f'<p class="alarm">{report.mismatches} times decoding did not give what was encoded.</p>')
    plots = _plots(names, curves, report.metrics, _shown(report.mean), report.picture_metrics)
    body.append(f"<section><h2>Rate and distortion</h2>{legend(names)}{plots}</section>")
    body.append(_bd_rates(report))
    for way in report.ways:
        title = "Means" + (f": {report.name_of(way)}" if len(report.ways) > 1 else "")
        points = _points(report.mean_of(way), list(report.metrics))
        body.append(f"<section><h2>{escape(title)}</h2>{points}</section>")
    body.append("<section><h2>Every picture</h2>")
    body += [_picture(report, names, *each) for each in zip(report.pictures, thumbnails, strict=True)]
    settings = "; ".join(baseline.describe() for baseline in report.baselines)
    used = " ".join(f"{name}: {what}." for name, what in report.metrics.items())
    body.append(
        f'<p class="note">Sizes are those of whole files. {escape(f"Beside it: {settings}." if settings else "")} '
        f"BD-rate: bits at equal PSNR; negative is fewer. {escape(used)}</p></section>"
    )
    return document(f"{report.model} – pylatent eval", "\n".join(body))


def thumbnail(picture: Tensor) -> bytes:
    """A small JPEG file of a (3, H, W) uint8 picture."""
    image = images.to_image(picture)
    image.thumbnail((144, 144))
    return images.to_bytes(image, "JPEG")


def _bd_rates(report: Report) -> str:
    if len(report.mean) < 2:
        return ""
    pairs = [(way, anchor) for way in report.ways for anchor in report.anchors(way)]
    if not pairs:
        return ""
    cells = [
        [*(escape(report.name_of(side)) for side in (way, anchor)), *_rates(report.bd_rate(anchor, way), report)]
        for way, anchor in pairs
    ]
    head = ["", "against", "mean of the pictures", "of the mean curve"]
    return f"<section><h2>Bits at equal PSNR</h2>{table(head, cells, text_columns=2)}</section>"


def _rates(rate: BdRate, report: Report) -> list[str]:
    of = f" ({rate.pictures} of {len(report.pictures)})" if rate.pictures < len(report.pictures) else ""
    return [percent_text(rate.mean_of_pictures) + of, percent_text(rate.of_mean_curve)]


def _plots(
    names: Sequence[str],
    curves: Sequence[Curve],
    metrics: Iterable[str],
    max_bpp: float,
    averaged: Sequence[str] | None = None,
) -> str:
    """A plot of PSNR, and one of each metric; `averaged`: of points that are means, the metrics that are, too."""
    plots = []
    for measure in (PSNR, *further(metrics)):
        mean = averaged is not None and (measure is PSNR or measure.title in averaged)
        of = ": mean of the pictures" if mean else "" if averaged is None else " of all pictures"
        plots.append(rate_plot(names, curves, measure, max_bpp, of=of))
    drawn = [plot for plot in plots if plot]
    return f'<div class="plots{" one" if len(drawn) < 2 else ""}">{"".join(drawn)}</div>'


def _points(curve: Curve, metrics: Sequence[str]) -> str:
    def speed(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    rows = [
        [
            "–" if point.quality is None else f"{point.quality:g}",
            bytes_text(round(point.nbytes)),
            f"{point.bpp:.3f}",
            psnr_text(point.psnr),
            ms_ssim_text(point),
            *(number_text(point.more.get(name)) for name in metrics),
            speed(point.encode_mps),
            speed(point.decode_mps),
        ]
        for point in curve
    ]
    head = ["quality", "size", "bpp", "PSNR, dB", "MS-SSIM", *map(escape, metrics), "encoding, MP/s", "decoding, MP/s"]
    return table(head, rows)


def _picture(report: Report, names: Sequence[str], picture: PictureReport, thumbnail: bytes) -> str:
    subject = picture.curves[report.ways[0]]
    curves = [*picture.curves.values(), *picture.baselines.values()]
    image = f'<img alt="" src="{embedded(thumbnail, "image/jpeg")}">'
    plots = _plots(names, curves, report.picture_metrics, _shown(subject))
    tables = [
        (f"<p><b>{escape(report.name_of(way))}</b></p>" if len(report.ways) > 1 else "")
        + _points(curve, report.picture_metrics)
        for way, curve in picture.curves.items()
    ]
    return (
        f"<details><summary>{image}<span><b>{escape(picture.name)}</b> {picture.width} × {picture.height}"
        f"<br>{_summary(subject)}</span></summary>"
        f"{legend(names)}{plots}{''.join(tables)}</details>"
    )


def _summary(curve: Curve) -> str:
    ends: tuple[Point, Point] = (curve[0], curve[-1])
    if len(curve) == 1:
        return f"{ends[0].bpp:.2f} bpp at {psnr_text(ends[0].psnr)} dB"
    return " to ".join(f"{point.bpp:.2f} bpp at {psnr_text(point.psnr)} dB" for point in ends)


def _shown(curve: Curve) -> float:
    """Where the rate axis ends: baselines go on for much longer."""
    return 1.15 * max(point.bpp for point in curve)
