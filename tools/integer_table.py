"""The section on integers of docs/measurements.md, from what the benchmarks of integer networks have measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pages import table

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def integer_section() -> str:
    """A 1080p picture through two models, the kernels against torch's, and what integers cost."""
    result = _load("integer-zen4.json")
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
    lines += ["", f"What the integer analysis costs in bits (BD-rate): {_analysis_costs()}.", *_synthesis_costs()]
    return "\n".join(lines) + "\n"


def _analysis_costs() -> str:
    costs = []
    for name, of in (("kodak", "pictures of Kodak's"), ("photos", "validation photographs")):
        result = _load(f"integer-analysis-{name}.json")
        found, seconds = result["bd_rate_percent"], result["seconds"]
        ratio = seconds["float32"] / seconds["integers"]
        costs.append(f"{found['mean']:+.2f} % on {len(found) - 1} {of}, where `analyze` is {ratio:.1f} times as fast")
    return "; ".join(costs)


def _synthesis_costs() -> list[str]:
    """What the layers of the integer synthesis cost."""
    result = _load("integer-synthesis-cost-zen4.json")
    layers = dict(result["layers"])
    together = layers.pop("all")
    dearest = sorted(layers, key=lambda name: -layers[name])[:3]
    most = ", ".join(f"{layers[name]:.3f} % in `g_s.{name}`" for name in dearest)
    return [
        "",
        f"The integer synthesis costs {together:.2f} % on the centres of {result['validation_pictures']} validation "
        f"photographs; one layer alone in integers, all others in floats, at most {most}; with the rounding of its "
        f"weights {result['kodak']['against original']:.2f} % on {result['kodak_pictures']} pictures of Kodak's.",
    ]


def _load(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))
