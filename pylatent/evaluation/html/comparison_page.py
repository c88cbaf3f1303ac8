"""The page of one picture: two of its versions under a slider, and what each costs."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from pylatent import images
from pylatent._text import bytes_text
from pylatent.evaluation.comparison import Comparison, Rate, Version
from pylatent.evaluation.curves import Curve
from pylatent.evaluation.html.page import (
    document,
    embedded,
    legend,
    ms_ssim_text,
    number_text,
    psnr_text,
    table,
)
from pylatent.evaluation.html.plot import rate_plot
from pylatent.evaluation.measures import MS_SSIM, PSNR, further

OURS = ".lat"

_VIEWER = """<section class="viewer" hidden>
<div class="bar">
<div class="rates" role="radiogroup" aria-label="File size"></div>
<div class="zoom" role="group" aria-label="Zoom"><button data-zoom="out" aria-label="Zoom out">−</button
><output>100 %</output><button data-zoom="in" aria-label="Zoom in">+</button
><button data-zoom="fit">Fit</button><button data-zoom="full">1:1</button></div>
</div>
<div class="stage" tabindex="0" aria-label="The picture. Plus and minus zoom, 0 fits it in, arrow keys move it.">
<div class="layer left"></div>
<div class="layer right"></div>
<div class="divider" role="slider" tabindex="0" aria-label="Where the left version ends and the right one begins"
 aria-valuemin="0" aria-valuemax="100"><span></span></div>
</div>
<div class="sides"><label class="side left"><select aria-label="Left version"></select><span></span></label
><label class="side right"><span></span><select aria-label="Right version"></select></label></div>
</section>
<noscript><p class="note">The slider needs JavaScript; the figures below do not.</p></noscript>"""


def comparison_page(comparison: Comparison, name: str, note: str = "") -> str:
    """The HTML file. `name` is the picture's; `note` says what of it is shown, if not all.

    The original and the decoded .lat files are embedded without loss as WebP, the others as the very files, which the
    browser decodes.
    """
    names = [each for each, _, _ in _versions(comparison.rates[0], comparison)]
    curves = _curves(comparison)
    max_bpp = max(point.bpp for curve in curves for point in curve)
    measures = (PSNR, MS_SSIM, *further(comparison.metrics))
    plots = [rate_plot(names, curves, measure, max_bpp) for measure in measures]
    _, height, width = comparison.picture.shape
    facts = [f"{width} × {height} pixels", *([note] if note else []), f"model {comparison.model}"]
    settings = ", ".join(baseline.describe() for baseline in comparison.baselines)
    matched = ""
    if others := [baseline.name for baseline in comparison.baselines]:
        which = f"Each {_listed(others)} is the smallest file of its kind that is no smaller than"
        matched = f"{which} that of {_ours(comparison)} above it: {settings}. "
    if len(comparison.rates[0].ours) > 1:
        matched += "Receivers show the same file. "
    matched += "".join(f"{what}; lower is more alike. " for what in comparison.metrics.values())
    body = [
        f"<header><h1>{escape(name)}</h1><p>{' · '.join(map(escape, facts))}</p></header>",
        _VIEWER,
        f'<section><h2>Rate and distortion</h2>{legend(names)}<div class="plots">{"".join(plots)}</div></section>',
        f"<section><h2>Every file</h2>{_table(comparison)}",
        f'<p class="note">{escape(matched)}The original and what models decode are embedded without loss, the others '
        "as the files themselves. Sizes are those of whole files. MS-SSIM in dB is −10 log₁₀(1 − MS-SSIM).</p>"
        "</section>",
    ]
    return document(f"{name} – pylatent compare", "\n".join(body), script="viewer.js", data=_data(comparison))


def _ours(comparison: Comparison) -> str:
    """The first model's name, where there is another; else the kind of its files, as the others' are named."""
    return OURS if all(baseline.media_type for baseline in comparison.baselines) else comparison.model


def _versions(rate: Rate, comparison: Comparison) -> Iterator[tuple[str, str, Version]]:
    """Name and media type of each version at a rate; ours has no type that browsers know."""
    for receiver, version in rate.ours.items():
        named = receiver != "full" or len(rate.ours) > 1
        yield _ours(comparison) + (f", {receiver}" if named else ""), "", version
    for baseline in comparison.baselines:
        yield baseline.name, baseline.media_type, rate.others[baseline.name]


def _curves(comparison: Comparison) -> list[Curve]:
    rates = [[version.point for _, _, version in _versions(rate, comparison)] for rate in comparison.rates]
    return [*zip(*rates, strict=True)]


def _data(comparison: Comparison) -> dict[str, Any]:
    """What the script shows."""
    _, height, width = comparison.picture.shape
    return {
        "width": width,
        "height": height,
        "original": _lossless(comparison.picture),
        "rates": [
            {
                "label": f"{next(iter(rate.ours.values())).point.bpp:.2f} bpp",
                "versions": [
                    {
                        "name": name,
                        "src": embedded(version.data, media_type) if media_type else _lossless(version.decoded),
                        "facts": _facts(version),
                    }
                    for name, media_type, version in _versions(rate, comparison)
                ],
            }
            for rate in comparison.rates
        ],
    }


def _facts(version: Version) -> str:
    further = [f"{name} {number_text(value)}" for name, value in version.point.more.items()]
    return " · ".join([bytes_text(len(version.data)), f"{psnr_text(version.point.psnr)} dB", *further])


def _lossless(pixels: Any) -> str:
    return embedded(images.to_bytes(images.to_image(pixels), "WEBP"), "image/webp")


def _table(comparison: Comparison) -> str:
    rows = []
    for rate in comparison.rates:
        for number, (name, _, version) in enumerate(_versions(rate, comparison)):
            point = version.point
            quality = "–" if point.quality is None else f"{point.quality:g}"
            rows.append(
                [
                    f"<b>{escape(name)}</b>" if number < len(rate.ours) else escape(name),
                    quality,
                    bytes_text(len(version.data)),
                    f"{point.bpp:.3f}",
                    psnr_text(point.psnr),
                    ms_ssim_text(point),
                    *(number_text(value) for value in point.more.values()),
                ]
            )
    return table(["", "quality", "size", "bpp", "PSNR, dB", "MS-SSIM", *map(escape, comparison.metrics)], rows)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
