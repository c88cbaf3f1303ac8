"""The rate-distortion plot: PSNR against bits per pixel, one line a codec."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from pylatent._files import atomic_writer
from pylatent.evaluation.curves import Curve

_INK, _MUTED, _GRID = "#1f2933", "#616e7c", "#e4e7eb"
_COLOURS = ("#d1495b", "#2e6f95", "#e0a030", "#5b8c5a", "#7b5ea7", "#8d6e63")


@dataclass(frozen=True)
class Line:
    """A curve with its name; `published` figures are drawn dashed, since they come from elsewhere."""

    name: str
    curve: Curve
    published: bool = False


def plot_curves(
    lines: Sequence[Line], path: str | os.PathLike[str], *, title: str, max_bpp: float | None = None
) -> None:
    """Writes the plot to `path` as PNG (or SVG, or PDF, by its suffix). The first line is drawn as the subject.

    The rate axis ends at `max_bpp`, or a little beyond the subject's last point: baselines go on for much longer.
    Raises `ImportError`, naming the extra, where matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("a plot needs matplotlib: pip install 'pylatent[plot]'") from error

    subject = lines[0]
    right = max_bpp or 1.15 * max(point.bpp for point in subject.curve)
    shown = [point for line in lines for point in line.curve if point.bpp <= right]
    low, high = min(point.psnr for point in shown), max(point.psnr for point in shown)

    figure = Figure(figsize=(7.2, 4.8), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlim(0, right)
    axes.set_ylim(low - 0.06 * (high - low) - 0.2, high + 0.08 * (high - low) + 0.2)
    for index, line in enumerate(lines):
        points = sorted(line.curve, key=lambda point: point.bpp)
        axes.plot(
            [point.bpp for point in points],
            [point.psnr for point in points],
            color=_COLOURS[index % len(_COLOURS)],
            linewidth=2.4 if line is subject else 1.5,
            linestyle=(0, (4, 2)) if line.published else "solid",
            marker="" if line.published else "o",
            markersize=5 if line is subject else 3.2,
            label=line.name,
            zorder=3 if line is subject else 2,
        )
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=_INK)
    axes.set_xlabel("bits per pixel (whole files)", color=_MUTED)
    axes.set_ylabel("PSNR, RGB (dB)", color=_MUTED)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.legend(loc="lower right", frameon=False, labelcolor=_INK, fontsize=9.5)
    with atomic_writer(path) as file:
        figure.savefig(file, format=os.path.splitext(path)[1].lstrip(".").lower() or "png")
