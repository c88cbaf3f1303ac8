"""What `pylatent eval` prints: a table of the pictures, one of their means, and the BD-rates."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table

from pylatent.cli._report import count
from pylatent.evaluation.curves import BdRate, Point
from pylatent.evaluation.report import Report
from pylatent.evaluation.ways import Way


def print_report(console: Console, report: Report) -> None:
    """All tables; the BD-rates only where there is something beside the model, and curves of at least two points."""
    _print_pictures(console, report)
    for way in report.ways:
        several = f": {report.name_of(way)}" if len(report.ways) > 1 else ""
        _print_means(console, report, way, f"Mean of {count(len(report.pictures), 'picture')}{several}")
    if any(map(report.anchors, report.ways)) and len(report.mean) > 1:
        _print_bd_rates(console, report)
    if report.metrics:
        _print_metrics(console, report)


def _table(title: str, *columns: str, text_columns: int) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for index, name in enumerate(columns):
        if index < text_columns:
            table.add_column(name, overflow="fold")
        else:
            # On a narrow terminal names are folded, numbers never cut.
            table.add_column(name, justify="right", no_wrap=True, min_width=max(map(len, name.splitlines())))
    return table


_MEASURES = ("   q", "  bytes", "  bpp", " PSNR", "MS-SSIM", "encode\nMP/s", "decode\nMP/s", "bugs")


def _cells(point: Point, bugs: int) -> list[str]:
    return [
        "-" if point.quality is None else f"{point.quality:g}",
        f"{point.nbytes:,.0f}",
        f"{point.bpp:.3f}",
        f"{point.psnr:.2f}",
        "-" if point.ms_ssim is None else f"{point.ms_ssim:.4f}",
        f"{point.encode_mps:.2f}",
        f"{point.decode_mps:.2f}",
        f"[bold red]{bugs}" if bugs else "0",
    ]


def _print_pictures(console: Console, report: Report) -> None:
    way = report.ways[0]
    table = _table(f"{report.name_of(way)} ({report.model_hash})", "picture", *_MEASURES, text_columns=1)
    for picture in report.pictures:
        for index, point in enumerate(picture.curves[way]):
            table.add_row(picture.name if index == 0 else "", *_cells(point, int(point.exact is False)))
        table.add_section()
    console.print(table)


def _print_means(console: Console, report: Report, way: Way, title: str) -> None:
    table = _table(title, *_MEASURES, text_columns=0)
    curves = report.curves(way)
    for index, point in enumerate(report.mean_of(way)):
        table.add_row(*_cells(point, sum(curve[index].exact is False for curve in curves)))
    console.print(table)


def _print_metrics(console: Console, report: Report) -> None:
    """Of every picture, those metrics that it has, and the means, or what is of all pictures together."""
    heads = [name.replace(" ", "\n").rjust(8) for name in report.metrics]
    table = _table("How alike pictures look; lower is more", "", "   q", "  bpp", *heads, text_columns=1)

    def add(title: str, points: Iterable[Point]) -> None:
        for index, point in enumerate(points):
            values = [point.more.get(name) for name in report.metrics]
            quality = "-" if point.quality is None else f"{point.quality:g}"
            cells = ("" if value is None else f"{value:.3g}" for value in values)
            table.add_row(title if index == 0 else "", quality, f"{point.bpp:.3f}", *cells)
        table.add_section()

    for picture in report.pictures if report.picture_metrics else ():
        for way, curve in picture.curves.items():
            add(picture.name + _beside(way, report), curve)
    for way in report.ways:
        add("all" + _beside(way, report), report.mean_of(way))
    console.print(table)
    for name, what in report.metrics.items():
        console.print(f"{name}: {what}", highlight=False)


def _print_bd_rates(console: Console, report: Report) -> None:
    columns = ("", "against", "mean of the pictures", "of the mean curve")
    table = _table("BD-rate: bits at equal PSNR; negative is fewer", *columns, text_columns=2)

    def add(who: str, anchor: str, rate: BdRate) -> None:
        by_picture = _percent(rate.mean_of_pictures)
        if rate.pictures < len(report.pictures):
            by_picture += f" ({rate.pictures} of {len(report.pictures)})"
        table.add_row(who, anchor, by_picture, _percent(rate.of_mean_curve))

    settings = {baseline.name: baseline.describe() for baseline in report.baselines}
    for way in report.ways:
        for anchor in report.anchors(way):
            told = settings[anchor] if isinstance(anchor, str) else report.name_of(anchor)
            add(report.name_of(way), told, report.bd_rate(anchor, way))
    console.print(table)


def _beside(way: Way, report: Report) -> str:
    """What tells a way from the others, to follow a name."""
    return report.name_of(way).removeprefix(report.model)


def _percent(value: float | None) -> str:
    return "not comparable" if value is None else f"{value:+.1f} %"
