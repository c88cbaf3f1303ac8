"""Tables and plots of docs/nested.md, from the results of the ablation of nested codecs."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from typing import Any

from pages import table, with_section

from pylatent._files import atomic_writer, write_bytes
from pylatent.evaluation.curves import Point
from pylatent.evaluation.plot import Line, plot_curves

_PLOTTED = ("L4-logistic-s1", "L2-logistic-s1", "L2-factorized", "L4-factorized", "L5-logistic-s0.25")
_COLOURS = ("#2e6f95", "#d1495b", "#e0a030", "#5b8c5a", "#7b5ea7")


def write_page(root: Path, result: dict[str, Any]) -> None:
    """Make the generated part of docs/nested.md anew, and its plots."""
    page = root / "docs" / "nested.md"
    images = root / "docs" / "images"
    settings = result["settings"]
    plot_rates(settings, images / "nested-rd.png")
    plot_levels(settings, images / "nested-levels.png")
    text = page.read_text(encoding="utf-8")
    lines = budget(result) + rate_table(settings) + seed_table(settings) + level_table(settings) + time_table(result)
    body = "\n".join(["", *lines, ""])
    write_bytes(page, with_section(text, "ablation", body).encode())


def budget(result: dict[str, Any]) -> list[str]:
    """What was spent, and how long the files are against their estimates."""
    settings = result["settings"]
    found, excess = result["environment"], max(each["longest_excess"] for each in settings)
    files = sum(len(each["bytes"]) for each in settings)
    return [
        f"{len(settings)} trainings of {result['steps']} steps, each of {result['batch']} crops of {result['crop']}² "
        f"pixels: {result['training_seconds'] / 60:.0f} core-minutes in all ({found['processor']}; "
        f"torch {found['torch']}). {files} files, every one of which decoded to what was encoded; none is longer than "
        f"its estimated bits by more than 0.5 % + 12 bytes a level + {max(0, excess):.0f} bytes.",
        "",
    ]


def rate_table(settings: list[dict[str, Any]]) -> list[str]:
    """Bits against the anchor, over all and at each quality."""
    anchor = by_name(settings, "L2-factorized")
    head = ["seed 1", "BD-rate"] + [f"bits at quality {point['quality']:g}" for point in anchor["points"]] + ["PSNR"]
    rows = []
    for each in settings:
        if each["seed"] == 1:
            pairs = list(zip(each["points"], anchor["points"], strict=True))
            bits = [f"{100 * (point['bpp'] / other['bpp'] - 1):+.2f} %" for point, other in pairs]
            change = mean(point["psnr"] - other["psnr"] for point, other in pairs)
            rows.append([title(each), f"{each['bd_rate']:+.2f} %", *bits, f"{change:+.3f} dB"])
    bpp = ", ".join(f"{point['bpp']:.3f}" for point in anchor["points"])
    decibels = ", ".join(f"{point['psnr']:.2f}" for point in anchor["points"])
    return [
        f"Against L = 2 with the factorized prior (bits per pixel {bpp}; PSNR {decibels} dB); negative is fewer bits:",
        "",
        *table(head, rows),
        "",
        "![PSNR against bits per pixel](images/nested-rd.png)",
        "",
    ]


def seed_table(settings: list[dict[str, Any]]) -> list[str]:
    """Settings that were trained more than once: BD-rates, and bits at the highest quality, against the anchor."""
    anchor = by_name(settings, "L2-factorized")["points"][-1]
    seeds: dict[str, list[dict[str, Any]]] = {}
    for each in settings:
        seeds.setdefault(each["setting"], []).append(each)
    rows = []
    for runs in seeds.values():
        if len(runs) > 1:
            rates = [each["bd_rate"] for each in runs]
            bits = [100 * (each["points"][-1]["bpp"] / anchor["bpp"] - 1) for each in runs]
            rows.append([title(runs[0]), listed(rates), spread(rates), listed(bits), spread(bits)])
    head = [
        "seeds 1, 2, …",
        "BD-rate, %",
        "mean ± deviation",
        f"bits at quality {anchor['quality']:g}, %",
        "mean ± deviation",
    ]
    return ["Several seeds, against the same anchor:", "", *table(head, rows), ""] if rows else []


def listed(values: list[float]) -> str:
    return ", ".join(f"{value:+.2f}" for value in values)


def spread(values: list[float]) -> str:
    return f"{mean(values):+.2f} ± {stdev(values):.2f}"


def level_table(settings: list[dict[str, Any]]) -> list[str]:
    """Bits per pixel of each level at the second quality."""
    deepest = max(each["levels"] for each in settings)
    rows = []
    for each in settings:
        if each["seed"] == 1:
            levels = [f"{bits:.4f}" for bits in each["points"][1]["levels"]]
            rows.append([title(each), *levels, *["–"] * (deepest - len(levels))])
    head = ["", "y", *(f"z{n}" for n in range(2, deepest + 1))]
    return [
        f"Bits per pixel of each level at quality {settings[0]['points'][1]['quality']:g}:",
        "",
        *table(head, rows),
        "",
        "![Bits of each level](images/nested-levels.png)",
        "",
    ]


def time_table(result: dict[str, Any]) -> list[str]:
    """Times against the number of levels, if they were taken."""
    if "times" not in result:
        return []
    taken = result["times"]
    first, peer, found = taken["rows"][0], taken["autoregressive"], taken["environment"]
    rows = [
        [
            f"L = {row['levels']}",
            *(f"{1e3 * row[verb]:.0f} ({row[verb] / first[verb]:.2f}x)" for verb in ("encode", "decode", "decompress")),
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['entropy_parameters'] / 1e6:.2f} M",
        ]
        for row in taken["rows"]
    ]
    head = ["ms", "pixels to stream", "stream to latents", "stream to pixels", "parameters", "of entropy levels"]
    ratio = min(peer["decompress"] / row["decompress"] for row in taken["rows"])
    return [
        f"Processor time of one {peer['size'][1]}x{peer['size'][0]} picture on one thread ({found['processor']}; torch "
        f"{found['torch']}), settings taking turns:",
        "",
        *table(head, rows),
        "",
        f"CompressAI {found['compressai']}'s {peer['name']} takes {peer['decompress']:.1f} s from streams to pixels of "
        f"the same picture in the same run: {ratio:.0f} times as long as any of these, or more.",
        "",
    ]


def title(each: dict[str, Any]) -> str:
    """`L = 4, logistic s = 1, shrinking`."""
    parts = [
        f"L = {each['levels']}",
        "factorized" if each["prior"] == "factorized" else f"logistic s = {each['scale']:g}",
    ]
    parts += [] if each["common_dim"] else ["shrinking"]
    return ", ".join(parts + ([] if each["predict_mean"] else ["means zero"]))


def by_name(settings: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The first seed's."""
    return next(each for each in settings if each["setting"] == name)


def plot_rates(settings: list[dict[str, Any]], path: Path) -> None:
    """PSNR against bits per pixel."""
    lines = [
        Line(title(each), [Point(p["quality"], 0, 0, p["bpp"], p["psnr"]) for p in each["points"]])
        for name in _PLOTTED
        for each in settings
        if each["setting"] == name and each["seed"] == 1
    ]
    furthest = max(point.bpp for line in lines for point in line.curve)
    title_text = "Kodak, 12 pictures: frozen transforms, entropy levels retrained"
    plot_curves(lines, path, title=title_text, max_bpp=1.03 * furthest)


def plot_levels(settings: list[dict[str, Any]], path: Path) -> None:
    """Stacked bits of y and of the deeper levels, at the lowest and the highest quality."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [each for each in settings if each["seed"] == 1]
    figure = Figure(figsize=(9.6, 0.34 * len(shown) + 1.4), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, place in zip(panels, (0, -1), strict=True):
        for row, each in enumerate(shown):
            left = 0.0
            for level, bits in enumerate(each["points"][place]["levels"]):
                axes.barh(row, bits, left=left, color=_COLOURS[level], height=0.72)
                left += bits
        axes.set_title(f"quality {shown[0]['points'][place]['quality']:g}", loc="left", fontsize=10.5)
        axes.set_xlabel("bits per pixel")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0)
    panels[0].set_yticks(range(len(shown)), [title(each) for each in shown], fontsize=8.5)
    panels[0].invert_yaxis()
    names = ["y", "z2", "z3", "z4", "z5"]
    handles = [figure_patch(colour) for colour in _COLOURS]
    figure.legend(handles, names, loc="outside upper right", ncols=5, frameon=False, fontsize=9)
    with atomic_writer(path) as file:
        figure.savefig(file, format="png")


def figure_patch(colour: str) -> Any:
    """A legend's square."""
    from matplotlib.patches import Patch

    return Patch(color=colour)
