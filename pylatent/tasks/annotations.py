"""Readers of pictures with boxes: Pascal VOC's XML, AGAR's JSON."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylatent.errors import FormatError

_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Box:
    """Pixels left ≤ x < right, top ≤ y < bottom, of a named class."""

    label: str
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class AnnotatedPicture:
    """A picture file and the boxes on it."""

    path: Path
    boxes: tuple[Box, ...]


def read_voc(folder: Path) -> list[AnnotatedPicture]:
    """A folder with `Annotations/*.xml` and `JPEGImages/`; boxes without area are left out, sorted by file.

    VOC counts pixels from 1 and includes the last, so that a box of xmin..xmax has the columns xmin-1 to xmax-1. Raises
    FileNotFoundError where the folders or a picture are missing, FormatError for XML that cannot be read.
    """
    files = sorted((folder / "Annotations").glob("*.xml"))
    if not files:
        raise FileNotFoundError(f"{folder / 'Annotations'} holds no .xml file: not a folder in Pascal VOC's layout")
    pictures = []
    for file in files:
        try:
            root = ElementTree.parse(file).getroot()
            boxes = [_voc_box(element) for element in root.iter("object")]
        except (ElementTree.ParseError, ValueError) as error:
            raise FormatError(f"{file}: not a Pascal VOC annotation: {error}") from error
        path = _picture_of(folder / "JPEGImages", file.stem, root.findtext("filename"))
        pictures.append(AnnotatedPicture(path, tuple(box for box in boxes if box is not None)))
    return pictures


def read_agar(folder: Path) -> list[AnnotatedPicture]:
    """AGAR (Majchrowska et al. 2021): `17.jpg` beside `17.json`; only plates whose colonies were counted.

    The JSON gives `colonies_number` (-1 where there are too many to count) and `labels`, each with `class`, `x`, `y`,
    `width`, `height` in pixels from the top left corner. "Defect" and "Contamination" are no colonies and left out.
    Raises FileNotFoundError and FormatError.
    """
    files = sorted(folder.rglob("*.json"), key=lambda file: (file.parent, len(file.stem), file.stem))
    if not files:
        raise FileNotFoundError(f"{folder} holds no .json file: not a folder in AGAR's layout")
    pictures = []
    for file in files:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            boxes = [_agar_box(label) for label in content.get("labels", ())]
            counted = int(content["colonies_number"]) > 0
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(f"{file}: not an annotation of AGAR: {type(error).__name__}: {error}") from error
        if counted:
            path = _picture_of(file.parent, file.stem, None)
            pictures.append(AnnotatedPicture(path, tuple(box for box in boxes if box is not None)))
    return pictures


def is_voc(folder: Path) -> bool:
    """Whether a folder is in Pascal VOC's layout."""
    return (folder / "Annotations").is_dir() and (folder / "JPEGImages").is_dir()


def is_agar(folder: Path) -> bool:
    """Whether a folder is in AGAR's layout, by its first JSON file."""
    first = next(folder.rglob("*.json"), None)
    return first is not None and '"colonies_number"' in first.read_text(encoding="utf-8", errors="replace")


def _voc_box(element: ElementTree.Element) -> Box | None:
    def side(name: str) -> int:
        text = element.findtext(f"bndbox/{name}")
        if text is None:
            raise ValueError(f"an object has no bndbox/{name}")
        return round(float(text))

    left, top, right, bottom = side("xmin"), side("ymin"), side("xmax"), side("ymax")
    if right <= left or bottom <= top:
        return None
    return Box((element.findtext("name") or "").strip(), left - 1, top - 1, right, bottom)


def _agar_box(label: dict[str, Any]) -> Box | None:
    left, top = round(label["x"]), round(label["y"])
    right, bottom = left + round(label["width"]), top + round(label["height"])
    name = str(label["class"])
    if right <= left or bottom <= top or name in ("Defect", "Contamination"):
        return None
    return Box(name, left, top, right, bottom)


def _picture_of(folder: Path, stem: str, name: str | None) -> Path:
    candidates = [folder / f"{stem}{suffix}" for suffix in _SUFFIXES] + ([folder / Path(name).name] if name else [])
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(f"{folder} holds no picture {stem} ({', '.join(_SUFFIXES)})")
