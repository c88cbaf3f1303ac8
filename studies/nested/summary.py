"""What the ablation's tables are made of: means over the pictures, and bits at equal PSNR against an anchor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from statistics import mean
from typing import Any

from training import Setting

from pylatent.evaluation import bd_rate

Rows = list[dict[str, Any]]


def summaries(measured: Mapping[Setting, Rows], anchor: Setting) -> list[dict[str, Any]]:
    """One entry a setting.

    bd_rate: percent against the anchor, the mean over the pictures; points: by quality, means over the pictures;
    longest_excess: the most by which a file is longer than its estimate times 1.005, less 12 bytes a level.
    """
    anchors = curves(measured[anchor])
    return [
        {
            "setting": setting.label,
            "seed": setting.seed,
            **{key: value for key, value in asdict(setting).items() if key != "seed"},
            "bd_rate": mean(bd_rate(curve, anchors[name]) for name, curve in curves(rows).items()),
            "points": points(rows),
            "longest_excess": max(row["bytes"] - 1.005 * row["estimated_bytes"] - 12 * setting.levels for row in rows),
            "bytes": [row["bytes"] for row in rows],
        }
        for setting, rows in measured.items()
    ]


def curves(rows: Rows) -> dict[str, list[tuple[float, float]]]:
    """(bpp, PSNR) at each quality, by picture."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        found.setdefault(row["picture"], []).append((row["bpp"], row["psnr"]))
    return found


def points(rows: Rows) -> list[dict[str, Any]]:
    """bpp, PSNR and bpp of each level (y first) at each quality."""
    result = []
    for quality in sorted({row["quality"] for row in rows}):
        chosen = [row for row in rows if row["quality"] == quality]
        pixels = [8 * row["bytes"] / row["bpp"] for row in chosen]
        levels = zip(*(row["level_bytes"] for row in chosen), strict=True)
        result.append(
            {
                "quality": quality,
                "bpp": mean(row["bpp"] for row in chosen),
                "psnr": mean(row["psnr"] for row in chosen),
                "levels": [mean(8 * n / size for n, size in zip(level, pixels, strict=True)) for level in levels],
            }
        )
    return result
