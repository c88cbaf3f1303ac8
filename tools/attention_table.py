"""The table of codecs with attention, of docs/measurements.md."""

from __future__ import annotations

import json
from pathlib import Path

from pages import table

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
_CODECS = {"tinylic": "TinyLIC", "tcm": "TCM"}
_WORK = ("encoding", "decoding", "entropy decoding", "synthesis")


def attention_codecs_section() -> str:
    """TCM and TinyLIC against the same codecs as they are usually written."""
    found = {name: json.loads((RESULTS / f"{name}-zen4.json").read_text(encoding="utf-8")) for name in _CODECS}
    environment = found["tinylic"]["environment"]
    lines = [
        "TCM and TinyLIC, random weights, against the same codecs as they are usually written: CompressAI's layers and "
        "coder with lists, attention in plain torch (TinyLIC unfolds the windows, since NATTEN has no CPU form any "
        "more, and computes every stage on the whole grid). Milliseconds of one thread (compressai "
        f"{environment['compressai']}, torch {environment['torch']}; {environment['processor']}), and how many times "
        "as fast:",
        "",
    ]
    rows = []
    for name, title in _CODECS.items():
        of = {row["what"]: row for row in found[name]["rows"]}
        size = found[name]["size"]
        for what in _WORK:
            times = [f"{1e3 * of[what][side]:.0f}" for side in ("plain_s", "pylatent_s")]
            rows.append([f"{title} {size}x{size}, {what}", *times, f"{of[what]['ratio']:.1f}x"])
    return "\n".join(lines + table(["", "usual", "pylatent", ""], rows)) + "\n"
