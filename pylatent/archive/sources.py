"""Pictures to be archived: found in folders, WebDataset tars and Parquet, and read again by whoever encodes them."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
import os
import tarfile
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from pylatent._files import is_lat, is_picture
from pylatent._walk import PassedOver, walk
from pylatent.archive import parquet
from pylatent.archive.shard import check_key, check_label
from pylatent.errors import FormatError, PylatentWarning

_OPENERS: dict[bytes, Callable[[str], Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
_BLOCK = 512  # of a tar


@dataclass(frozen=True)
class Source:
    """Where a picture of an archive comes from: a file, for `size` not None a stretch of a tar (uncompressed), for
    `group` not None the row `offset` of that row group of a Parquet file."""

    key: str
    label: str | None
    path: str
    offset: int = 0
    size: int | None = None
    group: int | None = None


def find_sources(
    inputs: Sequence[str | os.PathLike[str]],
    *,
    folder_labels: bool = False,
    keep_extensions: bool = False,
    coded: bool = False,
    passed: Callable[[PassedOver], None] = lambda item: None,
) -> Iterator[Source]:
    """All pictures of folders, tars and Parquet files, or with `coded` their .lat files, in an order of names alone.

    A folder is searched at any depth, hidden files and folders excepted; the key is the path below it without its
    extension. In a tar, members that share a name up to the first dot are a sample: its pictures become records, its
    `.cls` their label. A row of a Parquet file (archive/parquet.py) has the file's name and
    its number as key. With `folder_labels`, the first folder of a key is the label of those that have none. `passed`
    is told of folders that cannot be searched, and of links that lead in circles. Raises FormatError, OSError.
    """
    for given in inputs:
        path = os.path.abspath(given)
        wanted = is_lat if coded else is_picture
        if os.path.isdir(path):
            found = _in_folder(path, wanted, passed)
        elif path.lower().endswith(".parquet"):
            found = parquet.rows(path, Source)
        else:
            found = _in_tar(path, wanted)
        for source, extension in found:
            key = source.key + extension if keep_extensions else source.key
            if folder_labels and source.label is None and "/" in key:
                source = replace(source, label=key.split("/")[0])
            try:
                check_key(key)
                if source.label is not None:
                    check_label(source.label)
            except ValueError as error:
                raise FormatError(f"{source.path}: {error}: rename the picture") from None
            yield replace(source, key=key)


def read_labels(path: str | os.PathLike[str]) -> dict[str, str]:
    """Labels by key from the first two columns of a CSV file; a first line `key,label` is passed over.

    Keys may have their extension. Raises FormatError, OSError.
    """
    labels = {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if not row or (number == 1 and [cell.strip().lower() for cell in row[:2]] == ["key", "label"]):
                continue
            if len(row) < 2:
                raise FormatError(f"{os.fspath(path)}: line {number}: expected a key and a label, got {row}")
            labels[row[0]] = row[1]
    return labels


_Wanted = Callable[[Path], bool]


def _in_folder(folder: str, wanted: _Wanted, passed: Callable[[PassedOver], None]) -> Iterator[tuple[Source, str]]:
    for item in walk(folder, wanted):
        if isinstance(item, PassedOver):
            passed(item)
        else:
            key, extension = os.path.splitext(item.relative_to(folder))
            yield Source(Path(key).as_posix(), None, str(item)), extension


def _in_tar(path: str, wanted: _Wanted) -> Iterator[tuple[Source, str]]:
    with _open_tar(path) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for _, members in groupby(_members(tar), lambda member: _sample_name(member[0])):
                    yield from _sample(path, list(members), wanted)
                file.seek(tar.offset)
                end = file.read(_BLOCK)
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise FormatError(f"{path}: neither a folder nor an intact tar: {error}") from error
    if end.strip(b"\0") or 0 < len(end) < _BLOCK:  # tarfile stops at such a member as if it were the end
        raise FormatError(f"{path}: neither a folder nor an intact tar: no member can be read at byte {tar.offset}")
    if not end:
        warnings.warn(f"{path} has no end mark: it may have been cut off", PylatentWarning, stacklevel=2)


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str | None]]:
    """The files of a tar, and the text of each `.cls`, read in passing: seeking back costs in a compressed tar."""
    while (member := tar.next()) is not None:
        if member.isreg():
            file = tar.extractfile(member) if member.name.lower().endswith(".cls") else None
            yield member, None if file is None else file.read(1024).decode("utf-8", "replace").strip()
        tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all


def _sample_name(member: tarfile.TarInfo) -> str:
    folder, _, name = member.name.removeprefix("./").rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"


def _sample(
    path: str, members: list[tuple[tarfile.TarInfo, str | None]], wanted: _Wanted
) -> Iterator[tuple[Source, str]]:
    label = next((text for _, text in members if text), None)
    for member, _ in members:
        key, extension = os.path.splitext(member.name.removeprefix("./"))
        if wanted(Path(member.name)):
            yield Source(key, label, path, member.offset_data, member.size), extension


class SourceReader:
    """Reads the bytes of sources; keeps the last tar open, so that a compressed one is best read in its order, and the
    last row group of a Parquet file."""

    def __init__(self) -> None:
        self._rows = parquet.RowReader()
        self._path: str | None = None
        self._file: IO[bytes] | None = None

    def read(self, source: Source) -> bytes:
        """The bytes of a picture file. Raises FormatError where a tar or a Parquet file is damaged, OSError."""
        if source.group is not None:
            return self._rows.read(source.path, source.group, source.offset)
        if source.size is None:
            return Path(source.path).read_bytes()
        if self._file is None or self._path != source.path:
            self.close()
            self._file, self._path = _open_tar(source.path), source.path
        try:
            self._file.seek(source.offset)
            data = self._file.read(source.size)
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            raise FormatError(f"{source.path}: cannot be decompressed: {error}") from error
        if len(data) < source.size:
            raise FormatError(f"{source.path}: cut off: {source.size} bytes at {source.offset}, {len(data)} are left")
        return data

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._path = None


def _open_tar(path: str) -> IO[bytes]:
    with open(path, "rb") as file:
        opener = _OPENERS.get(file.read(2), lambda name: open(name, "rb"))  # noqa: SIM115 (the caller closes it)
    return opener(path)
