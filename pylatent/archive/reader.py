"""Reading a shard, mapped into memory or behind a URL: by position in constant time, by key in a binary search.

Opening checks header, footer and index, so that every later access is inside the file. A record is checked, by its CRC,
when it is read: damage to one leaves the others readable.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pylatent.archive.shard import (
    BLOCK,
    END_MAGIC,
    END_OF_ENTRIES,
    FOOTER,
    MAGIC,
    MAX_KEY,
    MAX_LABELS,
    VERSION,
    Record,
    check_key,
    check_label,
)
from pylatent.archive.storage import RemoteBytes, open_bytes
from pylatent.coding.container import HASH_BYTES, MAX_NAME, Bitstream, Cursor, check_model_name
from pylatent.errors import FormatError

if TYPE_CHECKING:
    import mmap

    Bytes: TypeAlias = mmap.mmap | RemoteBytes | bytes

_MAX_PREFIX = 2 + MAX_KEY + 5
_SHORTEST_ENTRY = 2 + 13  # a key of one byte and a record of one empty section


@dataclass(frozen=True)
class Failure:
    """A record, or where `key` is None a shard or a part of it, that could not be used.

    source: the shard's path, or the picture's. reason: one line that says what is wrong and where.
    """

    source: str
    key: str | None
    reason: str


@dataclass(frozen=True)
class ShardHeader:
    """What a shard says about all its records. `size` is that of the header itself in bytes, `crc` its last four."""

    model: str
    model_hash: bytes
    labels: tuple[str, ...]
    size: int
    crc: bytes


class Shard:
    """A shard opened for reading. Raises FormatError if it is damaged (records aside), OSError if it cannot be opened.

    `len()` is the number of records, `shard[i]` the record at a position (FormatError if it is damaged), `header` the
    model and the labels. Positions are in ascending order of the keys' bytes.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._map = open_bytes(self.path)
        try:
            self.header = read_header(self._map)
            self._count, self._end = self._read_footer()
            self._width = self._read_index()
        except FormatError as error:
            self._map.close()
            raise FormatError(f"{self.path}: {error}") from None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, position: int) -> Record:
        start, end = self.span(position)
        try:
            return read_entry(self._map[start:end], self.header)
        except FormatError as error:
            raise FormatError(f"{self.path}: record {position} at byte {start}: {error}") from None

    def __iter__(self) -> Iterator[Record]:
        return (self[position] for position in range(self._count))

    @property
    def file_bytes(self) -> int:
        return len(self._map)

    def close(self) -> None:
        self._map.close()

    def span(self, position: int) -> tuple[int, int]:
        """First byte of an entry, and of the next one. Raises IndexError."""
        if not 0 <= position < self._count:
            raise IndexError(f"{self.path} has {self._count} records, there is no number {position}")
        block, place = divmod(position, BLOCK)
        start: int = struct.unpack_from("<Q", self._index, 2 + 8 * block)[0]
        at = 2 + 8 * -(-self._count // BLOCK) + self._width * (position - place)
        lengths = struct.unpack_from(f"<{place + 1}{'H' if self._width == 2 else 'I'}", self._index, at)
        end = start + sum(lengths)
        return end - lengths[-1], end

    def key(self, position: int) -> str:
        """The key alone, not covered by a check: FormatError only if it cannot be one."""
        return self._prefix(position)[0]

    def label(self, position: int) -> str | None:
        """The label alone, likewise."""
        return self._prefix(position)[1]

    def _prefix(self, position: int) -> tuple[str, str | None]:
        start, end = self.span(position)
        try:
            return read_prefix(Cursor(self._map[start : min(end, start + _MAX_PREFIX)]), self.header)
        except FormatError as error:
            raise FormatError(f"{self.path}: record {position} at byte {start}: {error}") from None

    def find(self, key: str) -> int | None:
        """The position of a key, or None if it is not here.

        A damaged key can lead the search astray; then all keys are looked at, and the damaged ones passed over.
        """
        wanted, low, high = key.encode(errors="surrogatepass"), 0, self._count
        seen = []
        while low < high:
            middle = (low + high) // 2
            start, end = self.span(middle)
            found = _raw_key(self._map[start : min(end, start + _MAX_PREFIX)])
            if found == wanted:
                return middle
            seen.append(middle)
            if found is not None and found < wanted:
                low = middle + 1
            else:
                high = middle
        if all(self._intact(position) for position in seen):
            return None
        matches = (n for n in range(self._count) if _raw_key(self._map[slice(*self.span(n))]) == wanted)
        return next(matches, None)

    def _intact(self, position: int) -> bool:
        try:
            self[position]
        except FormatError:
            return False
        return True

    def _read_footer(self) -> tuple[int, int]:
        size, data = len(self._map), self._map
        at = size - FOOTER.size
        if at < self.header.size or data[size - len(END_MAGIC) :] != END_MAGIC:
            raise FormatError(
                f"byte {size}: the file does not end with a shard's footer: it is cut off, or something was appended"
            )
        count, end, index_crc, header_crc, footer_crc, _ = FOOTER.unpack(data[at:size])
        if zlib.crc32(data[at : at + 24]) != footer_crc:
            raise FormatError(f"byte {at}: CRC mismatch: damaged footer")
        if header_crc != int.from_bytes(self.header.crc, "little"):
            raise FormatError(f"byte {at + 20}: the footer belongs to another header: parts of two shards in one file")
        if not self.header.size <= end <= at or count * _SHORTEST_ENTRY > end - self.header.size:
            raise FormatError(f"byte {at}: {count} entries up to byte {end} cannot be in a file of {size} bytes")
        self._index: bytes = data[end:at]
        if zlib.crc32(self._index) != index_crc:
            raise FormatError(f"byte {end}: CRC mismatch: damaged index")
        return count, end

    def _read_index(self) -> int:
        """Checks that the index describes exactly the entries; returns the bytes of a length."""
        index = np.frombuffer(self._index, np.uint8)
        blocks = -(-self._count // BLOCK)
        width = int(index[1]) if len(index) >= 2 and index[0] == END_OF_ENTRIES else 0
        if width not in (2, 4) or len(index) != 2 + 8 * blocks + width * self._count:
            raise FormatError(f"byte {self._end}: the index does not have the size of {self._count} entries")
        offsets = index[2 : 2 + 8 * blocks].view("<u8")
        lengths = index[2 + 8 * blocks :].view("<u2" if width == 2 else "<u4")
        ends = self.header.size + np.cumsum(lengths, dtype=np.uint64)
        starts = ends - lengths
        last = int(ends[-1]) if self._count else self.header.size
        if last != self._end or (lengths < _SHORTEST_ENTRY).any() or (offsets != starts[::BLOCK]).any():
            raise FormatError(f"byte {self._end}: the index does not describe the entries")
        return width


def read_header(data: Bytes) -> ShardHeader:
    """The header that `data` begins with; raises FormatError."""
    cursor = Cursor(data[: 8 + MAX_NAME + HASH_BYTES + 8])
    if cursor.data[: len(MAGIC)] != MAGIC[: len(cursor.data)]:
        raise FormatError(f"byte 0: not a shard: it begins {cursor.data[:6].hex(' ')} instead of {MAGIC.hex(' ')}")
    cursor.take(len(MAGIC), "the magic")
    version = cursor.take(1, "the format version")[0]
    if version != VERSION:
        raise FormatError(
            f"byte {len(MAGIC)}: shard format version {version}, but this pylatent reads version {VERSION}: "
            "the file is damaged, or needs a newer pylatent"
        )
    name = cursor.take(cursor.take(1, "the length of the model name")[0], "the model name")
    model_hash = cursor.take(HASH_BYTES, "the model hash")
    count, size = struct.unpack("<II", cursor.take(8, "the sizes of the label table"))
    at, end = cursor.at, cursor.at + size
    if end + 4 > len(data):
        raise FormatError(f"byte {at}: truncated: the label table should end at byte {end}, the data at {len(data)}")
    crc = data[end : end + 4]
    if zlib.crc32(data[:end]) != int.from_bytes(crc, "little"):
        raise FormatError(f"byte {end}: CRC mismatch: damaged header")
    # From here on only a writer that breaks the rules can be wrong.
    cursor = Cursor(data[at:end])
    if count > min(MAX_LABELS, size // 2):
        raise FormatError(f"byte {at - 8}: {count} labels cannot be in {size} bytes")
    labels = [cursor.take(cursor.varint("a label's length"), "a label") for _ in range(count)]
    if cursor.at != size:
        raise FormatError(f"byte {at + cursor.at}: {size - cursor.at} trailing bytes in the label table")
    try:
        check_model_name(name.decode("ascii"))
        names = tuple(label.decode() for label in labels)
        for label in names:
            check_label(label)
    except ValueError as error:
        raise FormatError(f"byte {len(MAGIC) + 1}: {error}") from None
    return ShardHeader(name.decode(), model_hash, names, end + 4, bytes(crc))


def read_entry(data: bytes, header: ShardHeader) -> Record:
    """The record of one entry that fills `data`; raises FormatError with offsets after the key and label."""
    cursor = Cursor(data)
    key, label = read_prefix(cursor, header)
    stream = Bitstream.from_record(data[cursor.at :], context=header.crc + data[: cursor.at])
    return Record(key, label, stream)


def read_prefix(cursor: Cursor, header: ShardHeader) -> tuple[str, str | None]:
    """What stands before an entry's record: key and label; raises FormatError."""
    length = cursor.varint("a key's length")
    if not 1 <= length <= MAX_KEY:
        raise FormatError(f"a key must have 1..{MAX_KEY} bytes, not {length}")
    try:
        key = cursor.take(length, "a key").decode()
        check_key(key)
    except ValueError as error:
        raise FormatError(str(error)) from None
    number = cursor.varint("a label's number") if header.labels else 0
    if number > len(header.labels):
        raise FormatError(f"label number {number}, but the shard has {len(header.labels)} labels")
    return key, header.labels[number - 1] if number else None


def _raw_key(data: bytes) -> bytes | None:
    """The key at the beginning of an entry, or None where none can be."""
    size, begin = data[0], 1
    if size >= 0x80:
        size, begin = size & 0x7F | data[1] << 7, 2
    return data[begin : begin + size] if len(data) >= begin + size else None
