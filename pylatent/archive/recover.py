"""Reading a shard from the front, without its index: for files that were cut off or whose index is damaged."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

from pylatent.archive.reader import Failure, Shard, ShardHeader, read_entry, read_header, read_prefix
from pylatent.archive.shard import END_OF_ENTRIES, MAX_KEY, Record
from pylatent.archive.storage import RemoteBytes, open_bytes
from pylatent.coding.container import Cursor, record_length
from pylatent.errors import FormatError

_HEAD = 2 + MAX_KEY + 5 + 400  # bytes that tell how long an entry is
_PATIENCE = 16  # bytes checked in search of the next entry, per byte of the file
_ATTEMPTS = 1 << 24  # bytes tried as the beginning of an entry: a minute


def records(path: str | os.PathLike[str], *, recover: bool = False) -> Iterator[Record | Failure]:
    """Every record of a shard, and a Failure for each that is damaged, out of order, or twice there.

    With `recover`, a shard whose footer or index is damaged is read from the front, and each stretch in which no entry
    was found gives a Failure; otherwise the shard as a whole gives one. Raises OSError.
    """
    path = os.fspath(path)
    try:
        shard = Shard(path)
    except FormatError as error:
        yield Failure(path, None, str(error))
        if recover:
            yield from _scan(path)
        return
    last = b""
    for position in range(len(shard)):
        try:
            record = shard[position]
        except FormatError as error:
            yield Failure(path, _key(shard, position), str(error))
            continue
        key = record.key.encode()
        if key <= last:
            what = "is there twice" if key == last else "is out of order"
            yield Failure(path, record.key, f"{path}: record {position}: the key {record.key!r} {what}")
            continue
        last = key
        yield record


def _key(shard: Shard, position: int) -> str | None:
    try:
        return shard.key(position)
    except FormatError:
        return None


def _scan(path: str) -> Iterator[Record | Failure]:
    try:
        data = open_bytes(path)
        header = read_header(data)
    except FormatError as error:
        yield Failure(path, None, f"{path}: cannot be recovered: {error}")
        return
    at, last, patience, attempts = header.size, b"", _PATIENCE * len(data), _ATTEMPTS
    while at < len(data) and data[at] != END_OF_ENTRIES:
        start = at
        found = None
        while found is None and at < len(data) and patience >= 0 and attempts > 0:
            found, checked = _entry(data, at, header, last)
            if found is None:
                patience -= checked
                attempts -= 1
                at += 1
        if at > start:
            tail = "" if found or at == len(data) else "; the search was given up"
            yield Failure(path, None, f"{path}: no record can be read from byte {start} to {at}{tail}")
        if found is None:
            return
        record, size = found
        last = record.key.encode()
        at += size
        yield record


def _entry(
    data: mmap.mmap | RemoteBytes, at: int, header: ShardHeader, last: bytes
) -> tuple[tuple[Record, int] | None, int]:
    """The entry that begins at a byte, if its key is above `last`, with its size; and the bytes checked."""
    head = data[at : at + _HEAD]
    try:
        cursor = Cursor(head)
        key, _ = read_prefix(cursor, header)
        size = cursor.at + record_length(head[cursor.at :])
        if key.encode() <= last or at + size > len(data):
            return None, 0
    except FormatError:
        return None, 0
    try:
        return (read_entry(data[at : at + size], header), size), size
    except FormatError:
        return None, size
