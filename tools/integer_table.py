"""The section on integers of docs/measurements.md, from what bench_integer.py and integer_analysis.py have measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pages import table

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def integer_section() -> str:
    """A 1080p picture through two models, the kernels against torch's, and what the integer analysis costs."""
    result, cost = _load("integer-zen4.json"), _load("integer-analysis-kodak.json")
    found = result["environment"]
    seconds: dict[str, float] = result["models"]
    first, second = dict.fromkeys(name.rpartition(" ")[0] for name in seconds)
    rows = []
    for verb in ("compress", "decode", "decompress"):
        ours, theirs = seconds[f"{first} {verb}"], seconds[f"{second} {verb}"]
        rows.append([verb, f"{1e3 * ours:,.0f}", f"{1e3 * theirs:,.0f}", f"{theirs / ours:.2f}x"])
    lines = [
        f"One 1920x1080 picture at quality 4, one thread (torch {found['torch']}; {found['processor']}), milliseconds:",
        "",
        *table(["", first, second, "times as fast"], rows),
        "",
        "3x3 convolutions with all that follows them, billions of products a second as a plain convolution has them:",
        "",
    ]
    sides = list(next(iter(result["layers"].values())))
    rows = []
    for shape, taken in result["layers"].items():
        channels, height, width = (int(part) for part in shape.split("x"))
        products = 9 * channels**2 * height * width / 1e9
        rows.append([f"{channels} channels, {width}x{height}", *(f"{products / taken[side]:.0f}" for side in sides)])
    lines += table(["", *sides], rows)
    mean = cost["bd_rate_percent"]["mean"]
    ratio = cost["seconds"]["float32"] / cost["seconds"]["integers"]
    count = len(cost["bd_rate_percent"]) - 1
    lines += [
        "",
        f"The integer analysis costs {round(mean, 2) + 0:.2f} % of the bits (BD-rate, {count} pictures of Kodak's, "
        f"qualities {', '.join(f'{quality:g}' for quality in cost['qualities'])}); with it, `analyze` is {ratio:.1f} "
        "times as fast.",
    ]
    return "\n".join(lines) + "\n"


def _load(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))
