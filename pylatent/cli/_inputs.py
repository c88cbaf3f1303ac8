"""The files that a command line names: found in folders, looked at, and none of them lost without a word."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pylatent._files import is_lat, is_picture
from pylatent._walk import PassedOver, walk
from pylatent.cli._report import complain, count
from pylatent.coding.container import MAGIC
from pylatent.errors import FormatError

if TYPE_CHECKING:
    from torch import Tensor

STREAM = Path("-")
_HEAD = 16  # bytes that tell what a file is
_SIGNATURES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}


@dataclass(frozen=True)
class Kind:
    """What a verb takes. `accepts`: names of a folder's files. `refuses`: why a file that begins so is none, or None.

    other: what users may have in mind instead.
    """

    name: str
    other: str
    accepts: Callable[[Path], bool]
    refuses: Callable[[bytes], str | None]


@dataclass(frozen=True)
class Remark:
    """What is said of a file that is not worked on."""

    source: Path
    reason: str


@dataclass
class Inputs:
    """`files`: each with the path that it is to have below an output folder. Nothing else was found."""

    files: list[tuple[Path, Path]] = field(default_factory=list)
    skipped: list[Remark] = field(default_factory=list)
    failed: list[Remark] = field(default_factory=list)

    def report(self, quiet: bool = False) -> None:
        """Says on stderr what is skipped (unless `quiet`) and what has failed."""
        for remark in () if quiet else self.skipped:
            complain(f"{shown(remark.source)} skipped: {remark.reason}")
        for remark in self.failed:
            complain(with_name(remark.source, remark.reason))


def find(inputs: Sequence[Path], kind: Kind) -> Inputs:
    """The files of a command line; a folder stands for those below it that `kind` accepts."""
    found = Inputs()
    for given in inputs:
        if given != STREAM and os.path.isdir(given):
            _find_below(given, kind, found)
        else:
            found.files.append((given, Path(given.name)))
    usable = []
    for path, below in found.files:
        reason = None if path == STREAM else _why_not(path, kind)
        if reason is None:
            usable.append((path, below))
        else:
            found.failed.append(Remark(path, reason))
    found.files = usable
    return found


def _find_below(folder: Path, kind: Kind, found: Inputs) -> None:
    nothing, others = True, 0

    def wanted(path: Path) -> bool:
        nonlocal others
        accepted = kind.accepts(path)
        others += not accepted and (is_picture(path) or is_lat(path))
        return accepted

    for item in walk(folder, wanted):
        nothing = nothing and isinstance(item, PassedOver) and not item.failed
        if isinstance(item, PassedOver):
            (found.failed if item.failed else found.skipped).append(Remark(item.path, item.reason))
        else:
            found.files.append((item, item.relative_to(folder)))
    if nothing:
        hint = f", but {count(others, kind.other)}" if others else ""
        found.failed.append(Remark(folder, f"there are no {kind.name} in the folder {folder}{hint}"))


def _why_not(path: Path, kind: Kind) -> str | None:
    """Why a file cannot be worked on, as far as its first bytes tell; pipes are left alone."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            return kind.refuses(file.read(_HEAD))
    except OSError as error:
        return error.strerror or str(error)


def _no_picture(head: bytes) -> str | None:
    if head.startswith(MAGIC):
        return "this is a .lat file already: `pylatent decompress` makes a picture of it"
    return None


def _not_coded(head: bytes) -> str | None:
    name = next((name for begin, name in _SIGNATURES.items() if head.startswith(begin)), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        name = "WebP"
    return name and f"this is a {name} picture, not a .lat file: `pylatent compress` makes one of it"


PICTURES = Kind("pictures", ".lat file", is_picture, _no_picture)
CODED = Kind(".lat files", "picture", is_lat, _not_coded)


def read_source(source: Path, kind: Kind) -> bytes:
    """The bytes of an input file or of standard input; OSError, FormatError for another kind of file."""
    data = sys.stdin.buffer.read() if source == STREAM else source.read_bytes()
    reason = kind.refuses(data[:_HEAD])
    if reason is not None:
        raise FormatError(reason)
    return data


def read_picture(source: Path, max_pixels: int | None, quiet: bool = False) -> tuple[Tensor, int]:
    """uint8 (3, H, W) of an input and the bytes that it had; what was converted is reported. OSError, ImageError."""
    from pylatent import images

    data = read_source(source, PICTURES)
    try:
        picture = images.read(data, max_pixels=max_pixels)
    except images.ImageError as error:
        raise images.ImageError(str(error).replace("the picture", shown(source), 1)) from error
    if picture.notes and not quiet:
        complain(f"{shown(source)}: {', '.join(picture.notes)}")
    return picture.tensor, len(data)


def shown(path: Path, direction: str = "input") -> str:
    """How messages call an input (or output)."""
    return f"standard {direction}" if path == STREAM else str(path)


def with_name(source: Path, message: str) -> str:
    """`message` with the input that it is about in front, unless it names it already."""
    return message if shown(source) in message else f"{shown(source)}: {message}"
