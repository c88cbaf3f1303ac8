"""The table of docs/clc.md: what each variant of conditional coding gains, from benchmarks/results/clc-study.json."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

from pages import table

RESULT = Path(__file__).parents[1] / "benchmarks" / "results" / "clc-study.json"
_UNUSUAL = {"random": ", entries by lot", "plain": ", without matching", "wide": ", published size"}
_ON = {"photos": "right halves of photographs", "same": "crops of photographs", "cells": "right halves of micrographs"}
_SOURCE = {"photos": "photographs' left halves", "same": "the very crops", "cells": "micrographs' left halves"}


def clc_section() -> str:
    """Every variant with its seeds, then the noise, then Kodak."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    found: dict[str, list[dict[str, Any]]] = {}
    for each in result["variants"]:
        found.setdefault(each["variant"], []).append(each)
    steps = result["variants"][0]["steps"]
    lines = [
        f"Model `{result['model']}` as it is, matching and blend trained for {steps} steps of four crops of 128x128 in "
        f"every row, {result['processor_minutes']:.0f} minutes of one core in all "
        f"({result['environment']['processor']}, torch {result['environment']['torch']}). Pictures no training saw, "
        "qualities 2, 4 and 6, sizes of whole records. PSNR is the mean change over the qualities, seed by seed; "
        "BD-rate the mean over the seeds, and without the bits of the references' numbers:",
        "",
    ]
    rows = [_cells(name, runs) for name, runs in sorted(found.items(), key=_order)]
    head = ["coded", "dictionary", "K", "M", "PSNR", "BD-rate", "numbers free"]
    lines += table(head, rows)
    lines += ["", *_noise(result)]
    if "kodak" in result:
        lines += ["", *_kodak(result["kodak"])]
    return "\n".join(lines) + "\n"


def _order(item: tuple[str, Any]) -> tuple[int, bool, str]:
    on = item[0].partition("-")[0]
    return list(_ON).index(on), not item[0].endswith("none"), item[0]


def _cells(name: str, runs: list[dict[str, Any]]) -> list[str]:
    on, _, dictionary, _, _, *unusual = name.split("-")
    psnr = ", ".join(_signed(run["psnr_gain"], 4) for run in runs) + " dB"
    if unusual == ["none"]:
        free = _signed(mean(run["bd_rate_unpaid"] for run in runs), 2) + " %"
        return [_ON[on], "none: the same network sees y alone", "–", "0", psnr, "–", free]
    what = _UNUSUAL[unusual[0]] if unusual else ""
    rates = [_signed(mean(run[key] for run in runs), 2) + " %" for key in ("bd_rate", "bd_rate_unpaid")]
    return [_ON[on], _SOURCE[dictionary] + what, str(runs[0]["K"]), str(runs[0]["M"]), psnr, *rates]


def _noise(result: dict[str, Any]) -> list[str]:
    lines = []
    for each in result["variants"]:
        noise = [(name, other) for name, other in each["others"].items() if name[0].isdigit()]
        if noise:
            gains = ", ".join(f"ε = {name}: {_signed(other['psnr_gain'], 4)}" for name, other in sorted(noise))
            photos = each["others"]["photos"]["psnr_gain"]
            lines.append(
                f"Noise of ε standard deviations in the references, crops by the very crops, seed {each['seed']}: "
                f"none: {_signed(each['psnr_gain'], 4)}, {gains} dB; with the photographs' left halves in their place "
                f"{_signed(photos, 4)} dB."
            )
    return lines


def _kodak(rows: dict[str, Any]) -> list[str]:
    parts = [
        f"{'no references' if name.split('-s')[0].endswith('none') else 'CLC, K = 512, M = 3'}, seed {name[-1]}: "
        f"{_signed(each['psnr_gain'], 4)} dB, BD-rate {_signed(each['bd_rate'], 2)} %"
        for name, each in rows.items()
        if name != "base"
    ]
    return [f"Twelve pictures of Kodak's with the photographs' dictionary: {'; '.join(parts)}."]


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")
