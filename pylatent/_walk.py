"""Folders searched at any depth, without losing anything silently: whatever cannot be searched is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PassedOver:
    """A folder or file that was not looked into, and why; `failed` where that is an error."""

    path: Path
    reason: str
    failed: bool


def walk(folder: str | os.PathLike[str], wanted: Callable[[Path], bool]) -> Iterator[Path | PassedOver]:
    """The files below `folder` whose names are `wanted`, and what had to be passed over.

    The files of a folder come before its subfolders, each in the order of their names. Hidden files and folders are
    left out. Links are followed, except to a folder that the link itself lies in.
    """
    yield from _walk(Path(folder), wanted, ())


def _walk(folder: Path, wanted: Callable[[Path], bool], above: tuple[Path, ...]) -> Iterator[Path | PassedOver]:
    try:
        real = Path(os.path.realpath(folder))
        if real in above:
            yield PassedOver(folder, f"a link back to {real}, which it lies in", failed=False)
            return
        with os.scandir(folder) as entries:
            found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda each: each.name)
        folders = {entry.name for entry in found if entry.is_dir()}
    except OSError as error:
        yield PassedOver(folder, f"cannot be searched: {error.strerror or error}", failed=True)
        return
    for entry in found:
        path = folder / entry.name
        if entry.name in folders or not wanted(path):
            continue
        if path.exists() and not path.is_file():
            yield PassedOver(path, "neither a file nor a folder", failed=False)
        else:  # of a link that leads nowhere, whoever opens it will say so
            yield path
    for name in sorted(folders):
        yield from _walk(folder / name, wanted, (*above, real))
