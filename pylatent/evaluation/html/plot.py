"""The rate-distortion plot as inline SVG: text and lines take their colours from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from pylatent.evaluation.curves import Curve
from pylatent.evaluation.html.page import MARKS
from pylatent.evaluation.measures import Measure

_WIDTH, _HEIGHT = 480, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 10, 12, 40


def rate_plot(names: Sequence[str], curves: Sequence[Curve], measure: Measure, max_bpp: float, *, of: str = "") -> str:
    """The curves, at most as many as there are marks; nothing where fewer than two points can be drawn.

    Points beyond `max_bpp` are left out. Each drawn one tells its numbers, and is found by its `data-line` and
    `data-point`, its places in `curves`. of: what the points are of, for the title.
    """
    title = measure.title + of
    lines = [
        [
            (index, point.bpp, value, point)
            for index, point in enumerate(curve)
            if point.bpp <= max_bpp and (value := measure.of(point)) is not None
        ]
        for curve in curves
    ]
    values = [value for line in lines for _, _, value, _ in line]
    if len(values) < 2 or min(values) == max(values):
        return ""
    right = 1.04 * max(bpp for line in lines for _, bpp, _, _ in line)
    margin = 0.06 * (max(values) - min(values))
    low, high = min(values) - margin, max(values) + margin

    def x(bpp: float) -> float:
        return _LEFT + bpp / right * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="plot" role="img" aria-label="{escape(title)}">']
    for tick in _ticks(low, high):
        parts.append(f'<path class="grid" d="M{_LEFT} {y(tick):.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts += [
        f'<text x="{x(tick):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{tick:g}</text>'
        for tick in _ticks(0, right)
    ]
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">bits per pixel</text>')
    # The subject is drawn last, above the others.
    for number, line in reversed(list(enumerate(lines))):
        path = "L".join(f"{x(bpp):.1f} {y(value):.1f}" for _, bpp, value, _ in sorted(line, key=lambda each: each[1]))
        parts.append(f'<g class="c{number}"><path class="line" d="M{path}"/>' if line else "<g>")
        for index, bpp, value, point in line:
            tip = f"{names[number]}: {point.bpp:.3f} bpp, {measure.text(value)}"
            parts.append(
                f'<path data-line="{number}" data-point="{index}" d="{MARKS[number]}" '
                f'transform="translate({x(bpp):.1f} {y(value):.1f})"><title>{escape(tip)}</title></path>'
            )
        parts.append("</g>")
    return f"<figure><figcaption>{escape(title)}</figcaption>{''.join(parts)}</svg></figure>"


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers from `low` to `high`."""
    raw = (high - low) / 5
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]
