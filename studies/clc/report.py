"""All measurements of a run in one object, with what each variant gains over the model alone; and the plots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness import environment

from pylatent.evaluation.bdrate import bd_rate

_UNUSUAL = {"plain": ", without matching", "random": ", entries by lot", "wide": ", published size"}
_COLOURS = {"photos": "#2e6f95", "same": "#d1495b", "cells": "#5b8c5a"}


def report(run: Path) -> dict[str, Any]:
    """Of each variant and seed: BD-rate and mean change of PSNR against the model alone on the same pictures."""
    results: dict[str, Any] = {"environment": environment(), "base": {}, "variants": []}
    for path in sorted(run.glob("base-*.json")):
        found = json.loads(path.read_text())
        results["base"][found["on"]] = found["rows"]
        results["model"] = found["model"]
    for path in sorted(run.glob("*-s?.json")):
        found = json.loads(path.read_text())
        base = results["base"][found["variant"].partition("-")[0]]
        others = {name: {"rows": rows, **_gain(rows, base)} for name, rows in found.pop("others").items()}
        results["variants"].append({**found, **_gain(found["rows"], base), "others": others})
    if (run / "kodak.json").exists():
        rows = json.loads((run / "kodak.json").read_text())["rows"]
        results["kodak"] = {name: {"rows": each, **_gain(each, rows["base"])} for name, each in rows.items()}
    results["processor_minutes"] = sum(each["seconds"] for each in results["variants"]) / 60
    return results


def _gain(rows: list[dict[str, Any]], base: list[dict[str, Any]]) -> dict[str, float]:
    """bd_rate, in percent, with the references' numbers; bd_rate_unpaid without; psnr: mean change in dB."""
    curve = [(row["bpp"], row["psnr"]) for row in rows]
    unpaid = [(row["bpp"] - row["numbers_bpp"], row["psnr"]) for row in rows]
    anchor = [(row["bpp"], row["psnr"]) for row in base]
    psnr = [row["psnr"] - other["psnr"] for row, other in zip(rows, base, strict=True)]
    return {
        "bd_rate": bd_rate(curve, anchor),
        "bd_rate_unpaid": bd_rate(unpaid, anchor),
        "psnr_gain": sum(psnr) / len(psnr),
    }


def plots(results: dict[str, Any], folder: Path) -> None:
    """clc-gain.png: the gain in PSNR of every variant and seed."""
    _plot_gains(results, folder / "clc-gain.png")


def _plot_gains(results: dict[str, Any], path: Path) -> None:
    from matplotlib import pyplot

    order = list(dict.fromkeys(each["variant"] for each in results["variants"]))
    order.sort(key=lambda name: (name.partition("-")[0], name.endswith("none"), name), reverse=True)
    figure, axes = pyplot.subplots(figsize=(8, 1.1 + 0.38 * len(order)), dpi=160, layout="constrained")
    for each in results["variants"]:
        colour = _COLOURS[each["variant"].partition("-")[0]]
        axes.plot(each["psnr_gain"], order.index(each["variant"]), "o", color=colour, markersize=6, alpha=0.8)
    axes.axvline(0, color="#616e7c", linewidth=0.8)
    axes.set_yticks(range(len(order)), [title(name) for name in order], fontsize=8)
    title_of = "PSNR gained, mean of the qualities; one dot a seed"
    figure.suptitle(title_of, x=0.01, ha="left", fontsize=11, fontweight="bold")
    axes.set_xlabel("dB over the model alone")
    axes.tick_params(axis="x", labelsize=8)
    _finish(figure, axes, path)


def _finish(figure: Any, axes: Any, path: Path) -> None:
    axes.grid(color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path)


def title(variant: str) -> str:
    """photos-by-cells-K512-M3-random -> photos by cells, K = 512, M = 3, random."""
    on, _, dictionary, entries, references, *unusual = variant.split("-")
    if unusual == ["none"]:
        return f"{on}, the same network, no references"
    kind = _UNUSUAL[unusual[0]] if unusual else ""
    count = "all crops" if entries == "Kall" else f"K = {entries[1:]}"
    source = {"same": "these very crops", "photos": "photographs", "cells": "blood cells"}[dictionary]
    if dictionary == on != "same":
        source = f"other halves of the {'photographs' if on == 'photos' else 'pictures'}"
    return f"{on} by {source}, {count}, M = {references[1:]}{kind}"
