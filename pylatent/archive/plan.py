"""What an archive is made of: which pictures go into which shard, decided once and written down.

    archive.json        model, quality, and how many pictures each shard is to hold; replacing it commits a plan
    plan/00000.jsonl    the sources of a shard, one JSON array a line: key, label, path, offset, size,
                        and in Parquet the row group

A picture that is planned but not in its shard is missing: that is all a re-run needs to know.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from pylatent._files import atomic_writer, write_bytes
from pylatent.archive.digest import digests_of, key_digest
from pylatent.archive.shard import SUFFIX
from pylatent.archive.sources import Source
from pylatent.errors import FormatError

_FILE = "archive.json"
_FOLDER = "plan"
_VERSION = 1
_SAMPLED = 16


@dataclass(frozen=True)
class Plan:
    """How an archive is coded, and the number of pictures planned for each shard."""

    model: str
    model_hash: str
    quality: float | None
    shards: list[int] = field(default_factory=list)


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard of an archive lies."""
    return folder / f"shard-{number:05}{SUFFIX}"


def has_plan(folder: Path) -> bool:
    return (folder / _FILE).exists()


def read_plan(folder: Path) -> Plan:
    """The plan of an archive; raises FormatError, OSError."""
    path = folder / _FILE
    try:
        content = json.loads(path.read_bytes())
        version = content.pop("version")
        plan = Plan(**content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FormatError(f"{path} is damaged: {error}") from error
    if version != _VERSION:
        raise FormatError(f"{path} has version {version}, but this pylatent reads version {_VERSION}")
    return plan


def write_plan(folder: Path, plan: Plan) -> None:
    write_bytes(folder / _FILE, json.dumps({"version": _VERSION, **asdict(plan)}, indent=1).encode() + b"\n")


def read_sources(folder: Path, number: int) -> list[Source]:
    """The sources of a shard, in the order in which they were found; raises FormatError, OSError."""
    path = _sources_path(folder, number)
    try:
        return [Source(*json.loads(line)) for line in path.read_bytes().splitlines()]
    except (ValueError, TypeError) as error:
        raise FormatError(f"{path} is damaged: {error}") from error


def extend_plan(
    folder: Path,
    plan: Plan,
    sources: Iterable[Source],
    *,
    bytes_of: Callable[[Sequence[Source]], float],
    shard_bytes: int,
    shard_records: int,
) -> Plan:
    """Plans the sources whose keys are not planned yet, as further shards, and commits the plan.

    A shard gets `shard_records` pictures, or as many as make `shard_bytes` where that is less; `bytes_of` says how
    many bytes some of the sources take on average. Memory: 24 bytes a picture. Raises FormatError for two sources with
    one key.
    """
    listing = folder / _FOLDER / ".listing.tmp"
    listing.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(listing, "w+b") as file:
            starts = _list_new(file, sources, _planned(folder, plan))
            count = len(starts)
            if count == 0:
                return plan
            sample = [_line_at(file, starts[count * i // min(count, _SAMPLED)]) for i in range(min(count, _SAMPLED))]
            size = min(shard_records, max(1, int(shard_bytes / max(1.0, bytes_of(sample)))))
            number = -(-count // size)
            file.seek(0)
            sizes = [count * (i + 1) // number - count * i // number for i in range(number)]
            for i, length in enumerate(sizes, len(plan.shards)):
                with atomic_writer(_sources_path(folder, i)) as out:
                    out.writelines(file.readline() for _ in range(length))
    finally:
        listing.unlink(missing_ok=True)
    plan = Plan(plan.model, plan.model_hash, plan.quality, plan.shards + sizes)
    write_plan(folder, plan)
    return plan


def _sources_path(folder: Path, number: int) -> Path:
    return folder / _FOLDER / f"{number:05}.jsonl"


def _planned(folder: Path, plan: Plan) -> np.ndarray:
    keys = (source.key for number in range(len(plan.shards)) for source in read_sources(folder, number))
    return np.sort(digests_of(b"".join(map(key_digest, keys))))


def _list_new(file: IO[bytes], sources: Iterable[Source], planned: np.ndarray) -> array[int]:
    """Writes the sources that are not planned, a line each; returns where the lines begin."""
    starts, digests = array("Q"), bytearray()
    for source in sources:
        digest = key_digest(source.key)
        place = int(np.searchsorted(planned, digest))
        if place < len(planned) and planned[place] == digest:
            continue
        starts.append(file.tell())
        digests += digest
        file.write(json.dumps(_fields(source)).encode() + b"\n")
    unique, counts = np.unique(digests_of(digests), return_counts=True)
    if len(unique) < len(starts):
        _refuse_duplicates(file, set(unique[counts > 1].tolist()))
    return starts


def _fields(source: Source) -> tuple[object, ...]:
    fields = astuple(source)
    return fields if source.group is not None else fields[:-1]


def _refuse_duplicates(file: IO[bytes], digests: set[bytes]) -> None:
    file.seek(0)
    paths: dict[str, list[str]] = {}
    for line in file:
        source = Source(*json.loads(line))
        if key_digest(source.key) in digests:
            paths.setdefault(source.key, []).append(source.path)
    key, both = next(iter(paths.items()))
    raise FormatError(
        f"{len(paths)} keys are there twice, such as {key!r} from {both[0]} and {both[1]}: rename one of them, or "
        f"keep the extensions in the keys if they differ"
    )


def _line_at(file: IO[bytes], start: int) -> Source:
    file.seek(start)
    return Source(*json.loads(file.readline()))
