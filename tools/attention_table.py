"""The tables of attention: its operator, of docs/operators.md, and codecs with it, of docs/measurements.md."""

from __future__ import annotations

import json
from pathlib import Path

from pages import table

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
_CODECS = {"tinylic": "TinyLIC", "tcm": "TCM"}
_PEERS = {
    "unfolded": "keys unfolded",
    "tiles": "SDPA over masked tiles",
    "flex_attention": "flex_attention, compiled, no bias",
}
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


def neighborhood_attention_section() -> str:
    """The operator's times against its peers, and its memory over sizes."""
    found = json.loads((RESULTS / "neighborhood-attention-zen4.json").read_text(encoding="utf-8"))
    passes = {"forward": "forward", "forward+backward": "forward and backward"}
    rows = []
    for row in found["rows"]:
        over = [f"{row['over'][name]:.3g}x" if name in row["over"] else "–" for name in _PEERS]
        height, width = row["size"]
        form = f"{row['dtype']}, dilation {row['dilation']}" if row["dilation"] > 1 else row["dtype"]
        cells = [f"{height}x{width}, {form}", passes[row["pass"]], f"{row['milliseconds']['pylatent']:.2g}", *over]
        rows.append(cells)
    lines = table(["map", "pass", "ms", *_PEERS.values()], rows)
    lines += ["", "Memory beside the inputs, float32, the same window: it grows as the map does.", ""]
    sizes = []
    for row in found["memory"]:
        tokens = row["size"][0] * row["size"][1]
        cells = [f"{row['size'][0]}x{row['size'][1]}", f"{tokens:,}"]
        for name in passes:
            cells += [f"{row[name]:.2f}", f"{1e6 * row[name] / tokens:.0f}"]
        sizes.append(cells)
    head = ["map", "tokens", "forward, MB", "bytes a token", "with gradients, MB", "bytes a token"]
    return "\n".join(lines + table(head, sizes)) + "\n"
