"""An archive: a folder of shards of one model, or a single shard."""

from __future__ import annotations

import bisect
import contextlib
import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylatent.archive.reader import Failure, Shard
from pylatent.archive.shard import SUFFIX, Record
from pylatent.archive.storage import list_files, names_file, place_of
from pylatent.errors import FormatError, MismatchError, PylatentError

_OPEN_SHARDS = 64
_OPENED_TOGETHER = 16


@dataclass(frozen=True)
class _Part:
    """A shard of an archive: its path, number of records, first position in the archive, first and last key."""

    path: str
    count: int
    start: int
    first: bytes
    last: bytes


class Archive:
    """The records of a folder of shards, or of one shard, by position and by key.

    `len()`, `archive[i]` (a Record; FormatError if it is damaged), `archive["key"]` (KeyError), `keys()`, `labels()`;
    positions count through the shards in the order of their names. Shards are mapped, 64 at a time, and a record takes
    2 bytes in memory, of the index of its shard. Can be pickled.

    path: the folder or file, or its URL (archive/storage.py). failures: where given, shards that cannot be opened are
    recorded there and left out; otherwise they raise. Raises FormatError, MismatchError for shards of several models,
    OSError.
    """

    def __init__(self, path: str | os.PathLike[str], *, failures: list[Failure] | None = None) -> None:
        self.path = place_of(path)
        self._open: OrderedDict[str, Shard] = OrderedDict()
        self._lock, self._process = threading.Lock(), os.getpid()
        self._parts: list[_Part] = []
        self.model, self.model_hash = "", b""
        self.file_bytes = 0
        files = shard_files(self.path)
        for number, file in enumerate(files):
            if isinstance(self.path, str) and number % _OPEN_SHARDS == 0:
                self._open_together(files[number : number + _OPEN_SHARDS])
            try:
                self._append(self._shard(file))
            except FormatError as error:
                if failures is None:
                    raise
                failures.append(Failure(file, None, str(error)))
        self._starts = [part.start for part in self._parts]

    def _open_together(self, files: Sequence[str]) -> None:
        """Opens shards that take several requests each; failures come up when they are used."""

        def opened(file: str) -> None:
            with contextlib.suppress(PylatentError, OSError):
                shard = Shard(file)
                _range(shard)
                self._open[file] = shard

        self._open.clear()
        with ThreadPoolExecutor(_OPENED_TOGETHER) as pool:
            list(pool.map(opened, files))

    def _append(self, shard: Shard) -> None:
        header = shard.header
        if self._parts and (header.model, header.model_hash) != (self.model, self.model_hash):
            raise MismatchError(
                f"{self.path} mixes models: {self._parts[0].path} is of {self.model} ({self.model_hash.hex()}), "
                f"{shard.path} of {header.model} ({header.model_hash.hex()}); use one folder for each model"
            )
        self.model, self.model_hash = header.model, header.model_hash
        self._parts.append(_Part(shard.path, len(shard), len(self), *_range(shard)))
        self.file_bytes += shard.file_bytes

    def __len__(self) -> int:
        return self._parts[-1].start + self._parts[-1].count if self._parts else 0

    def __getitem__(self, position: int | str) -> Record:
        if isinstance(position, str):
            found = self.find(position)
            if found is None:
                raise KeyError(position)
            position = found
        shard, place = self._locate(position)
        return shard[place]

    def __iter__(self) -> Iterator[Record]:
        return (self[position] for position in range(len(self)))

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.find(key) is not None

    def find(self, key: str) -> int | None:
        """The position of a key, or None: a binary search in every shard whose keys may include it."""
        wanted = key.encode(errors="surrogatepass")
        for part in self._parts:
            if part.first <= wanted <= part.last:
                place = self._shard(part.path).find(key)
                if place is not None:
                    return part.start + place
        return None

    def key(self, position: int) -> str:
        """The key of a record, without reading the rest of it."""
        shard, place = self._locate(position)
        return shard.key(place)

    def label(self, position: int) -> str | None:
        """The label of a record, likewise."""
        shard, place = self._locate(position)
        return shard.label(place)

    def keys(self) -> Iterator[str]:
        """All keys, in the order of the positions; FormatError where one is not legible."""
        return (self.key(position) for position in range(len(self)))

    def labels(self) -> list[str | None]:
        """The label of every record, in the order of the positions; None where the record is not legible."""
        labels: list[str | None] = []
        for shard in self.shards():
            for position in range(len(shard)):
                try:
                    labels.append(shard.label(position))
                except FormatError:
                    labels.append(None)
        return labels

    def shards(self) -> Iterator[Shard]:
        """The shards, one after the other, opened."""
        return (self._shard(part.path) for part in self._parts)

    def spans(self) -> list[range]:
        """The positions of each shard."""
        return [range(part.start, part.start + part.count) for part in self._parts]

    def source(self, position: int) -> str:
        """The path of the shard that holds a position."""
        return self._locate(position)[0].path

    def _locate(self, position: int) -> tuple[Shard, int]:
        if not 0 <= position < len(self):
            raise IndexError(f"{self.path} has {len(self)} records, there is no number {position}")
        part = self._parts[bisect.bisect_right(self._starts, position) - 1]
        return self._shard(part.path), position - part.start

    def _shard(self, path: str) -> Shard:
        if self._process != os.getpid():  # connections do not survive a fork, nor does a lock that was held
            self._open, self._lock, self._process = OrderedDict(), threading.Lock(), os.getpid()
        with self._lock:
            shard = self._open.get(path)
            if shard is None:
                shard = self._open[path] = Shard(path)
                if len(self._open) > _OPEN_SHARDS:
                    self._open.popitem(last=False)  # unmapped when the last of its readers lets go of it
            self._open.move_to_end(path)
            return shard

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_open", "_lock", "_process")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _open=OrderedDict(), _lock=threading.Lock(), _process=os.getpid())


def _range(shard: Shard) -> tuple[bytes, bytes]:
    """The first and last key of a shard, or bounds of all keys where these two are damaged."""
    if not len(shard):
        return b"\xff", b""
    try:
        return shard[0].key.encode(), shard[len(shard) - 1].key.encode()
    except FormatError:
        return b"", b"\xff"


def is_archive(path: Path | str) -> bool:
    """Whether a path is a shard or a folder of shards; a URL always is one."""
    if isinstance(path, str):
        return True
    return path.suffix == SUFFIX or (path.is_dir() and any(path.glob(f"*{SUFFIX}")))


def shard_files(path: Path | str) -> list[str]:
    """The shards of a folder in the order of their names, or `path` itself if it is a file; FormatError, OSError."""
    if isinstance(path, str):
        return [path] if names_file(path, SUFFIX) else list_files(path, SUFFIX)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
    if not path.is_dir():
        return [os.fspath(path)]
    files = sorted(os.fspath(file) for file in path.glob(f"*{SUFFIX}") if not file.name.startswith("."))
    if not files:
        raise FormatError(f"{path}: no archive: the folder holds no shard (*{SUFFIX})")
    return files
