"""The frame of a page: one HTML file with style, script and pictures inside, in the reader's light or dark colours."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from pylatent._version import __version__
from pylatent.evaluation.curves import Point

_HERE = Path(__file__).parent
# What the page promises, the browser enforces: nothing is fetched, whatever the names of files say.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def document(title: str, body: str, *, script: str | None = None, data: Any = None) -> str:
    """The whole file. `title` is text, `body` HTML; `script` names a file beside this one, which finds `data` there."""
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{_read('style.css')}</style>",
        f"<main>\n{body}\n<footer>Made by pylatent {escape(__version__)}.</footer>\n</main>",
    ]
    if script is not None:
        text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
        parts += [f'<script type="application/json" id="data">{text}</script>', f"<script>\n{_read(script)}</script>"]
    return "\n".join([*parts, "</html>\n"])


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> str:
    """An HTML table of cells that are HTML; the columns after the first `text_columns` hold numbers."""

    def row(cells: Sequence[str], tag: str) -> str:
        made = [f"<{tag}{' class=n' if i >= text_columns else ''}>{cell}</{tag}>" for i, cell in enumerate(cells)]
        return f"<tr>{''.join(made)}</tr>"

    body = "\n".join(row(cells, "td") for cells in rows)
    return f'<div class="wide"><table>\n<thead>{row(head, "th")}</thead>\n<tbody>\n{body}\n</tbody></table></div>'


def legend(names: Sequence[str]) -> str:
    """What the colours and marks of the plots stand for, in the order of their lines."""
    marks = [
        f'<span class="c{i}"><svg viewBox="-6 -6 12 12" aria-hidden="true"><path d="{mark}"/></svg>'
        f"<b>{escape(name)}</b></span>"
        for i, (name, mark) in enumerate(zip(names, MARKS, strict=False))
    ]
    return f'<p class="legend">{"".join(marks)}</p>'


# Outlines around the origin: lines are told apart by more than their colour.
MARKS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "M-3.5-3.5h7v7h-7z",
    "M0-5L5 0L0 5L-5 0z",
    "M0-4.6L4.6 3.4H-4.6z",
    "M-4-2.4L-2.4-4L0-1.6L2.4-4L4-2.4L1.6 0L4 2.4L2.4 4L0 1.6L-2.4 4L-4 2.4L-1.6 0z",
    "M0 4.6L4.6-3.4H-4.6z",
    "M-1.5-5h3v10h-3z",
    "M-5-1.5h10v3h-10z",
)


def embedded(data: bytes, media_type: str) -> str:
    """The data URI of a file."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def psnr_text(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "∞"


def ms_ssim_text(point: Point) -> str:
    return "–" if point.ms_ssim is None else f"{point.ms_ssim:.4f}"


def number_text(value: float | None) -> str:
    """Of any metric."""
    return "–" if value is None else f"{value:.3g}".replace("-", "−")


def percent_text(value: float | None) -> str:
    return "not comparable" if value is None else f"{value:+.1f} %".replace("-", "−")


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
