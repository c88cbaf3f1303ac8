"""Draws one picture in several versions side by side: each whole above, and a detail of it enlarged below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, MUTED, ACCENT = "#fbfbf9", "#1f2933", "#52606d", "#d1495b"
COLUMN, GAP, MARGIN = 480, 20, 32
ZOOM = 3


@dataclass(frozen=True)
class Version:
    """A picture to show, with a name, and one line of facts below the name."""

    image: Image.Image
    name: str
    facts: str


def side_by_side(title: str, versions: Sequence[Version], centre: tuple[float, float], footnote: str) -> Image.Image:
    """The sheet. All versions have one size; `centre` is the detail's middle as fractions of width and height."""
    width, height = versions[0].image.size
    shown_height = round(height * COLUMN / width)
    side = COLUMN // ZOOM
    detail = (side, round(side * 0.75))
    left = min(max(round(centre[0] * width) - detail[0] // 2, 0), width - detail[0])
    top = min(max(round(centre[1] * height) - detail[1] // 2, 0), height - detail[1])
    box = (left, top, left + detail[0], top + detail[1])

    heading, whole = MARGIN, MARGIN + 52
    enlarged = whole + shown_height + GAP
    names = enlarged + detail[1] * ZOOM + 16
    sheet = Image.new(
        "RGB", (2 * MARGIN + len(versions) * COLUMN + (len(versions) - 1) * GAP, names + 64 + 30 + MARGIN), PAPER
    )
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, heading), title, INK, ImageFont.load_default(28))
    for index, version in enumerate(versions):
        x = MARGIN + index * (COLUMN + GAP)
        sheet.paste(version.image.resize((COLUMN, shown_height), Image.Resampling.LANCZOS), (x, whole))
        scaled = [x + box[0] * COLUMN / width, whole + box[1] * COLUMN / width]
        scaled += [x + box[2] * COLUMN / width, whole + box[3] * COLUMN / width]
        draw.rectangle(scaled, outline="white", width=2)
        crop = version.image.crop(box).resize((detail[0] * ZOOM, detail[1] * ZOOM), Image.Resampling.BICUBIC)
        sheet.paste(crop, (x, enlarged))
        draw.text((x, names), version.name, ACCENT if index == 1 else INK, ImageFont.load_default(24))
        draw.text((x, names + 34), version.facts, MUTED, ImageFont.load_default(19))
    draw.text((MARGIN, names + 64 + 12), footnote, MUTED, ImageFont.load_default(17))
    return sheet
