"""The rate-distortion plot: PSNR, and what else was measured, against bits per pixel, one line a codec."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pylatent._files import atomic_writer
from pylatent.evaluation.curves import Curve
from pylatent.evaluation.measures import PSNR, Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _MUTED, _GRID = "#1f2933", "#616e7c", "#e4e7eb"
_COLOURS = ("#d1495b", "#2e6f95", "#e0a030", "#5b8c5a", "#7b5ea7", "#8d6e63", "#0f7f86", "#6b7280")


@dataclass(frozen=True)
class Line:
    """A curve with its name; `published` figures are drawn dashed, since they come from elsewhere."""

    name: str
    curve: Curve
    published: bool = False


def plot_curves(
    lines: Sequence[Line],
    path: str | os.PathLike[str],
    *,
    title: str,
    max_bpp: float | None = None,
    measures: Sequence[Measure] = (PSNR,),
) -> None:
    """Writes the plot to `path` as PNG (or SVG, or PDF, by its suffix), one panel a measure. The first line is drawn as
    the subject.

    The rate axis ends at `max_bpp`, or a little beyond the subject's last point: baselines go on for much longer.
    Raises `ImportError`, naming the extra, where matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("a plot needs matplotlib: pip install 'pylatent[plot]'") from error

    right = max_bpp or 1.15 * max(point.bpp for point in lines[0].curve)
    figure = Figure(figsize=(7.2 if len(measures) == 1 else 5.2 * len(measures), 4.8), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    for number, (measure, axes) in enumerate(
        zip(measures, figure.subplots(1, len(measures), squeeze=False)[0], strict=True)
    ):
        _draw(axes, lines, measure, right)
        if number == 0:
            axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=_INK)
            axes.legend(loc="lower right", frameon=False, labelcolor=_INK, fontsize=9.5)
    with atomic_writer(path) as file:
        figure.savefig(file, format=os.path.splitext(path)[1].lstrip(".").lower() or "png")


def _draw(axes: Axes, lines: Sequence[Line], measure: Measure, right: float) -> None:
    drawn = [[(point.bpp, value) for point in line.curve if (value := measure.of(point)) is not None] for line in lines]
    shown = [value for points in drawn for bpp, value in points if bpp <= right]
    axes.set_xlim(0, right)
    if shown:
        low, high = min(shown), max(shown)
        margin = 0.2 if measure is PSNR else 0.02 * (high - low)
        if high > low or margin:
            axes.set_ylim(low - 0.06 * (high - low) - margin, high + 0.08 * (high - low) + margin)
    for index, (line, points) in enumerate(zip(lines, drawn, strict=True)):
        points.sort()
        axes.plot(
            [bpp for bpp, _ in points],
            [value for _, value in points],
            color=_COLOURS[index % len(_COLOURS)],
            linewidth=2.4 if index == 0 else 1.5,
            linestyle=(0, (4, 2)) if line.published else "solid",
            marker="" if line.published else "o",
            markersize=5 if index == 0 else 3.2,
            label=line.name,
            zorder=3 if index == 0 else 2,
        )
    axes.set_xlabel("bits per pixel (whole files)", color=_MUTED)
    axes.set_ylabel(measure.title, color=_MUTED)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
