"""Shards: many records of one model in one file, with an index; byte tables in docs/archive-format.md.

    header │ entry  entry  …  entry │ index │ footer           entry = key, label number, bare record

Entries stand in ascending order of their keys, so the index needs no keys: a key is found by binary search, and a file
that has lost its index can be read from the front. A record's CRC covers the header's CRC and its key, so no record is
taken for another shard's or another key's.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from pylatent._files import atomic_writer
from pylatent.coding.container import HASH_BYTES, Bitstream, check_model_name, varint

MAGIC = b"\xecLSH\r\n"
VERSION = 1
SUFFIX = ".lats"
MAX_KEY = 1024
MAX_LABEL = 255
MAX_LABELS = 1 << 20
BLOCK = 64  # entries to an absolute offset in the index
END_OF_ENTRIES = 0  # where a key's length would stand, which is never 0
FOOTER = struct.Struct("<QQIII4s")  # entries, offset of the index, CRCs of index, header and footer, end magic
END_MAGIC = b"HSL\n"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Record:
    """One picture of an archive.

    key: unique in the archive; a relative path of 1..1024 bytes of UTF-8 (see `check_key`).
    label: 1..255 bytes of UTF-8, or None.
    """

    key: str
    label: str | None
    stream: Bitstream


def check_key(key: str) -> None:
    """Raises ValueError for a key that cannot stand in a shard, or that as a path would lead out of a folder."""
    if not 1 <= _size(key) <= MAX_KEY:
        raise ValueError(f"a key must be 1..{MAX_KEY} bytes of UTF-8, got {key[:100]!r}")
    if "\\" in key or _CONTROL.search(key):
        raise ValueError(f"a key must not contain a backslash or a control character, got {key!r}")
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise ValueError(f"a key must be a relative path without empty parts, '.' and '..', got {key!r}")


def check_label(label: str) -> None:
    """Raises ValueError for a label that cannot stand in a shard."""
    if not 1 <= _size(label) <= MAX_LABEL or _CONTROL.search(label):
        raise ValueError(f"a label must be 1..{MAX_LABEL} bytes of UTF-8 without control characters, got {label!r}")


def _size(text: str) -> int:
    """Bytes of UTF-8, or 0 for text that has no UTF-8 (as names of files may be)."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0


def write_shard(path: str | os.PathLike[str], model: str, model_hash: bytes, records: Sequence[Record]) -> int:
    """Writes the records, which must be in ascending order of the bytes of their keys, whole or not at all.

    Returns the size of the file in bytes. Raises ValueError for keys that are out of order or twice there, OSError.
    """
    names = sorted({record.label for record in records if record.label is not None})
    header = header_bytes(model, model_hash, names)
    seed = header[-4:]
    numbers = {name: number for number, name in enumerate(names, 1)}
    lengths: list[int] = []
    last = b""
    with atomic_writer(path) as file:
        file.write(header)
        for record in records:
            check_key(record.key)
            key = record.key.encode()
            if key <= last:
                raise ValueError(f"`records` must be in ascending order of their keys: {record.key!r} after {last!r}")
            last = key
            prefix = varint(len(key)) + key
            if names:
                prefix += varint(0 if record.label is None else numbers[record.label])
            entry = prefix + record.stream.to_record(context=seed + prefix)
            file.write(entry)
            lengths.append(len(entry))
        offset = file.tell()
        index = index_bytes(len(header), lengths)
        file.write(index)
        file.write(footer_bytes(len(lengths), offset, zlib.crc32(index), header))
        return file.tell()


def header_bytes(model: str, model_hash: bytes, labels: Sequence[str]) -> bytes:
    """Magic, version, model, its hash, and the labels that entries refer to by number."""
    check_model_name(model)
    if len(model_hash) != HASH_BYTES:
        raise ValueError(f"`model_hash` must have {HASH_BYTES} bytes, got {len(model_hash)}")
    if len(labels) > MAX_LABELS:
        raise ValueError(f"a shard holds at most {MAX_LABELS} different labels, got {len(labels)}")
    for label in labels:
        check_label(label)
    name = model.encode()
    table = b"".join(varint(len(label.encode())) + label.encode() for label in labels)
    sizes = struct.pack("<II", len(labels), len(table))
    header = MAGIC + bytes((VERSION, len(name))) + name + model_hash + sizes + table
    return header + zlib.crc32(header).to_bytes(4, "little")


def index_bytes(start: int, lengths: Sequence[int]) -> bytes:
    """The end of the entries, the width of a length, an offset every `BLOCK` entries, and each entry's length."""
    width = 2 if max(lengths, default=0) < 1 << 16 else 4
    offsets = []
    for number, length in enumerate(lengths):
        if number % BLOCK == 0:
            offsets.append(start)
        start += length
    packed = struct.pack(f"<{len(offsets)}Q{len(lengths)}{'H' if width == 2 else 'I'}", *offsets, *lengths)
    return bytes((END_OF_ENTRIES, width)) + packed


def footer_bytes(count: int, offset: int, index_crc: int, header: bytes) -> bytes:
    """The last 32 bytes of a shard."""
    begin = struct.pack("<QQI", count, offset, index_crc) + header[-4:]
    return begin + zlib.crc32(begin).to_bytes(4, "little") + END_MAGIC
