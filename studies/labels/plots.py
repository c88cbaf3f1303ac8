"""The plots of docs/latent-classification.md: accuracy against bits, confusion matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jobs import ADAPTER, PIXELS
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_INK, _MUTED, _GRID = "#1f2933", "#616e7c", "#e4e7eb"
_COLOURS = {"LatentResNet": "#d1495b", "FusionGated": "#2e6f95", "LatentMLP": "#e0a030", PIXELS: "#5b8c5a"}
_SHOWN = [(PIXELS, "original", tested) for tested in ("original", "q6", "q3", "q1")]
_SHOWN += [
    (model, quality, quality) for model in ("LatentResNet", "FusionGated") for quality in ("q6", "q3", "q2", "q1")
]


def accuracy_against_bits(result: dict[str, Any], path: Path) -> None:
    """Balanced accuracy with 95 % intervals against bits per pixel, a line a model."""
    rows = {(row["model"], row["trained_on"], row["tested_on"]): row for row in result["rows"]}
    figure = Figure(figsize=(7.6, 4.8), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    best = rows.get((PIXELS, "original", "original"))
    if best is not None:
        value = best["balanced_accuracy"]
        axes.axhspan(100 * value["low"], 100 * value["high"], color="#5b8c5a", alpha=0.12, linewidth=0)
        axes.axhline(100 * value["value"], color="#5b8c5a", linewidth=1, label=f"{PIXELS}, original pixels")
    for number, (model, colour) in enumerate(_COLOURS.items()):
        points = []
        for quality, bits in sorted(result["bpp"].items(), key=lambda pair: pair[1]):
            row = rows.get((model, "original" if model == PIXELS else quality, quality))
            if row is not None:
                points.append(
                    (
                        bits * 1.015 ** (number - 1.5),
                        *(100 * row["balanced_accuracy"][k] for k in ("value", "low", "high")),
                    )
                )
        if points:
            x, y, low, high = np.array(points).T
            label = f"{PIXELS}, decoded pixels" if model == PIXELS else model
            style = {"color": colour, "linewidth": 1.6, "marker": "o", "markersize": 4, "capsize": 2.5, "elinewidth": 1}
            axes.errorbar(x, y, (y - low, high - y), label=label, **style)
    row = rows.get((ADAPTER, "q3", "q3"))
    if row is not None:
        value = row["balanced_accuracy"]
        y = 100 * value["value"]
        error = [[y - 100 * value["low"]], [100 * value["high"] - y]]
        axes.errorbar(
            [result["bpp"]["q3"] * 1.06],
            [y],
            error,
            color="#7b5ea7",
            marker="D",
            capsize=2.5,
            label=ADAPTER,
            linestyle="",
        )
    axes.set_xscale("log")
    ticks = sorted(result["bpp"].values())
    axes.set_xticks(ticks, [f"{bits:.2f}" for bits in ticks])
    axes.minorticks_off()
    axes.set_title(
        "Balanced accuracy on blood cells, test parts of five folds",
        loc="left",
        fontsize=11,
        fontweight="bold",
        color=_INK,
    )
    axes.set_xlabel("bits per pixel of the records (qualities 1, 2, 3, 6)", color=_MUTED)
    axes.set_ylabel("balanced accuracy, %", color=_MUTED)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, length=0)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="best", frameon=False, labelcolor=_INK, fontsize=8.5)
    figure.savefig(path)


def confusions(result: dict[str, Any], path: Path) -> None:
    """One square a model and quality: rows are labels, shares of the row as colour, counts as text."""
    rows = {(row["model"], row["trained_on"], row["tested_on"]): row for row in result["rows"]}
    shown = [side for side in _SHOWN if side in rows]
    columns = 4
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(2.35 * columns, 2.45 * lines), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    names = result["classes"]
    for number, side in enumerate(shown):
        axes = figure.add_subplot(lines, columns, number + 1)
        matrix = np.array(rows[side]["confusion"])
        shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.ndindex(matrix.shape):
            axes.text(
                j,
                i,
                str(matrix[i, j]),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if shares[i, j] > 0.6 else _INK,
            )
        axes.set_xticks(range(len(names)), names, fontsize=7, color=_MUTED)
        axes.set_yticks(
            range(len(names)), names if number % columns == 0 else [""] * len(names), fontsize=7, color=_MUTED
        )
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_title(f"{side[0]}, {side[2]}", fontsize=8.5, color=_INK)
    figure.supylabel("label", fontsize=8, color=_MUTED)
    figure.supxlabel("predicted", fontsize=8, color=_MUTED)
    figure.savefig(path)
