"""Coded pictures with labels, from an archive or from pictures that are coded first: what heads are trained on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pylatent._files import is_picture, write_bytes
from pylatent.archive.folder import Archive, is_archive
from pylatent.archive.shard import Record, write_shard
from pylatent.codecs.base import Codec
from pylatent.codecs.latents import Latents
from pylatent.coding.container import HASH_BYTES
from pylatent.tasks.annotations import is_agar, is_voc, read_agar, read_voc
from pylatent.tasks.data import Item, crops, folder_items

__all__ = ["Labelled", "is_archive", "labelled"]

_BATCH = 16


@dataclass(frozen=True)
class Labelled:
    """Records of an archive: `positions` of those with a label, their class numbers, and the groups of a split."""

    archive: Archive
    positions: list[int]
    classes: list[str]
    labels: np.ndarray
    groups: list[str]

    def digest(self) -> str:
        """Of the keys: tells whether another source has the same items."""
        keys = "\n".join(self.archive.key(position) for position in self.positions)
        return hashlib.sha256(keys.encode()).hexdigest()[:16]

    def latents(self, codec: Codec, numbers: Sequence[int] | np.ndarray) -> Latents:
        """Decodes some of them, which must be of one size."""
        return codec.decode([self.archive[self.positions[int(number)]].stream for number in numbers])

    def shapes(self) -> tuple[tuple[int, int], tuple[float, float] | None]:
        """The size of all pictures, and their lowest and highest quality. ValueError where there are several sizes."""
        sizes, qualities = set(), set()
        for position in self.positions:
            stream = self.archive[position].stream
            sizes.add(stream.size)
            qualities.add(stream.quality)
        if len(sizes) > 1:
            shown = ", ".join(f"{width}x{height}" for height, width in sorted(sizes)[:3])
            raise ValueError(f"{self.archive.path}: pictures of one size are needed, got {len(sizes)}: {shown} ...")
        known = [quality for quality in qualities if quality is not None]
        return sizes.pop(), (min(known), max(known)) if known else None


def labelled(
    source: Path,
    codec: Codec,
    quality: float | None,
    work: Path,
    group: str | None,
    advance: Callable[[int, int], None],
    classes: Sequence[str] | None = None,
) -> Labelled:
    """The labelled records of `source`: an archive, or pictures, which are coded into `work` unless they are there.

    group: a regular expression; what it (or its first group) finds in a key is the key's group. Without it, that of a
    crop is its source picture, that of anything else itself. classes: those known to a head; by default those there
    are. advance is told how many pictures are coded, of how many. Raises ValueError for a source that is none.
    """
    groups: dict[str, str] = {}
    if is_archive(source):
        archive = Archive(source)
    else:
        archive, groups = _coded(source, codec, quality, work, advance)
    pairs = [(position, label) for position, label in enumerate(archive.labels()) if label is not None]
    if not pairs:
        raise ValueError(f"{source} holds no labels: `pylatent archive create` takes them from folders' names")
    names = sorted({label for _, label in pairs}) if classes is None else list(classes)
    unknown = sorted({label for _, label in pairs} - set(names))
    if unknown:
        raise ValueError(f"{source} has labels that the head does not know: {', '.join(unknown[:5])}")
    numbers = {name: number for number, name in enumerate(names)}
    keys = [archive.key(position) for position, _ in pairs]
    found = [_group(key, group) if group else groups.get(key, key) for key in keys]
    labels = np.array([numbers[label] for _, label in pairs])
    return Labelled(archive, [position for position, _ in pairs], names, labels, found)


def _group(key: str, pattern: str) -> str:
    found = re.search(pattern, key)
    if found is None:
        raise ValueError(f"--group {pattern} finds nothing in the key {key}")
    return found[1] if found.re.groups else found[0]


def _coded(
    source: Path, codec: Codec, quality: float | None, work: Path, advance: Callable[[int, int], None]
) -> tuple[Archive, dict[str, str]]:
    """The pictures of `source` as an archive in `work`, made if it is not there, and the groups of its keys."""
    settings = {"source": str(source.resolve()), "model": codec.fingerprint().hex(), "quality": quality}
    shard, notes = work / "records.lats", work / "groups.json"
    if shard.exists() and notes.exists():
        content = json.loads(notes.read_text())
        if content["settings"] != settings:
            raise ValueError(f"{work} was made from {content['settings']}: choose another folder with -o")
        return Archive(shard), content["groups"]
    work.mkdir(parents=True, exist_ok=True)
    items, total = _items(source)
    records, groups = [], {}
    for batch in _batches(items):
        for item, stream in zip(batch, codec.compress(_pixels(batch), quality), strict=True):
            records.append(Record(item.key, item.label, stream))
            groups[item.key] = item.group
        advance(len(records), total)
    records.sort(key=lambda record: record.key.encode())
    write_bytes(notes, json.dumps({"settings": settings, "groups": groups}).encode())
    write_shard(shard, codec.name, codec.fingerprint()[:HASH_BYTES], records)
    return Archive(shard), groups


def _items(source: Path) -> tuple[Iterator[Item], int]:
    """Letterboxed pictures of a folder in one of three layouts, and how many there are about."""
    if not source.is_dir():
        raise ValueError(f"{source} is neither an archive nor a folder")
    if is_voc(source) or is_agar(source):
        annotated = read_voc(source) if is_voc(source) else read_agar(source)
        return crops(annotated), sum(len(picture.boxes) for picture in annotated)
    paths = sorted(path for path in source.glob("*/**/*") if is_picture(path) and path.is_file())
    if not paths:
        raise ValueError(
            f"{source} is no archive, no Pascal VOC or AGAR data set, and has no folders of pictures named as classes"
        )
    return folder_items(source, paths), len(paths)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _pixels(batch: Sequence[Item]) -> Tensor:
    arrays = np.stack([np.asarray(item.picture) for item in batch])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).contiguous().float() / 255
