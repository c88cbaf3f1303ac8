"""Records (one coded picture) and `.lat` files (a header and one record); byte tables in docs/format.md.

    .lat file:  magic  version  model name  model hash │ record
    record:     height  width  quality  section lengths  index CRC  sections  CRC

Reading is strict: every byte has one meaning, a single CRC covers all of them, and whatever is wrong raises
`FormatError` with the byte offset, before anything is allocated. Nothing here knows a model, so a file can be described
without its weights.
"""

from __future__ import annotations

import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pylatent._files import write_bytes
from pylatent.errors import FormatError

# As in PNG's signature: the high bit catches 7-bit channels, CR LF catches newline conversion in either direction.
MAGIC = b"\xecLAT\r\n"
VERSION = 1
HASH_BYTES = 8
MAX_SIDE = 1 << 20
MAX_SECTIONS = 64
INEXACT, PIXELS_CHECKED, RESIDUAL = 128, 256, 512  # added to the number of sections
QUALITY_STEPS = 64
MAX_QUALITY = 255
MAX_ERROR = 127  # grey levels
UNBOUNDED = 128  # added to the error of a residual that is no bound, but gives its steps
TRANSFORMED = 128  # in its place: coefficients of a transform (pylatent.transform_residual)
MAX_NAME = 64
HEAD_BYTES = len(MAGIC) + 2 + MAX_NAME + HASH_BYTES + 5 * (5 + MAX_SECTIONS)  # at most, up to the sections' lengths

_VARINT_LIMIT = (1 << 32) - 1
_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Bitstream:
    """One coded picture.

    size: (height, width) in pixels, each 1..2^20.
    quality: a multiple of 1/64 in (0, 255], or None for a fixed-rate model.
    sections: coded steps of the latents, in coding order, each a lane stream (docs/format.md); 1..64 of them.
    index_crc: CRC-32 chained over the table-index bytes of the sections in coding order.
    exact: whether the table indexes are the same on every machine; False for a model without exact networks.
    pixel_crc: CRC-32 of the decoded 8-bit pixels, row by row, red, green, blue; None where it is not stored.
    residual: what the decoded pixels lack (pylatent.residuals), None where nothing is added to them.
    """

    size: tuple[int, int]
    quality: float | None
    sections: tuple[bytes, ...]
    index_crc: int
    exact: bool = True
    pixel_crc: int | None = None
    residual: bytes | None = None

    def __post_init__(self) -> None:
        for side, name in zip(self.size, ("height", "width"), strict=True):
            if not 1 <= side <= MAX_SIDE:
                raise ValueError(f"the {name} must be 1..{MAX_SIDE} pixels, got {side}")
        if self.quality is not None:
            on_grid = (self.quality * QUALITY_STEPS) % 1 == 0
            if not (0 < self.quality <= MAX_QUALITY and on_grid):
                raise ValueError(f"`quality` must be a multiple of 1/64 in (0, {MAX_QUALITY}], got {self.quality}")
        if not 1 <= len(self.sections) <= MAX_SECTIONS:
            raise ValueError(f"`sections` must hold 1..{MAX_SECTIONS} streams, got {len(self.sections)}")
        for number, section in enumerate(self._all_sections):
            if len(section) > _VARINT_LIMIT:
                raise ValueError(f"section {number} is longer than {_VARINT_LIMIT} bytes: {len(section)}")
        if self.residual == b"":
            raise ValueError("`residual` must be None or begin with its kind, got no bytes")
        for name, crc in (("index_crc", self.index_crc), ("pixel_crc", self.pixel_crc or 0)):
            if not 0 <= crc < 1 << 32:
                raise ValueError(f"`{name}` must be an unsigned 32-bit number, got {crc}")

    @property
    def max_error(self) -> int | None:
        """By how many grey levels a decoded pixel may be off at most, where there is a residual with a bound."""
        return None if self.residual is None or self.residual[0] >= UNBOUNDED else self.residual[0]

    @property
    def residual_step(self) -> float | None:
        """Grey levels between neighbouring values of a residual, or of the coefficients of a transformed one."""
        if self.residual is None:
            return None
        if self.residual[0] == TRANSFORMED:
            return Cursor(self.residual[1:]).varint("the step of a residual") / 8
        return 2 * (self.residual[0] % UNBOUNDED) + 1

    @property
    def _all_sections(self) -> tuple[bytes, ...]:
        return self.sections if self.residual is None else (*self.sections, self.residual)

    def to_record(self, *, context: bytes = b"") -> bytes:
        """The record's bytes; `context` is what precedes it (a file's header): covered by the CRC, not stored."""
        steps = 0 if self.quality is None else int(self.quality * QUALITY_STEPS)
        checked = self.pixel_crc is not None
        count = len(self.sections) + (0 if self.exact else INEXACT) + (PIXELS_CHECKED if checked else 0)
        count += 0 if self.residual is None else RESIDUAL
        numbers = (*self.size, steps, count, *map(len, self._all_sections))
        crcs = b"".join(crc.to_bytes(4, "little") for crc in (self.index_crc, self.pixel_crc) if crc is not None)
        body = b"".join((*map(varint, numbers), crcs, *self._all_sections))
        return body + zlib.crc32(body, zlib.crc32(context)).to_bytes(4, "little")

    @classmethod
    def from_record(cls, data: bytes, *, context: bytes = b"") -> Bitstream:
        """Reads exactly one record that fills `data`; raises FormatError."""
        return _read_record(Cursor(data), zlib.crc32(context))


@dataclass(frozen=True)
class LatFile:
    """A `.lat` file: the model that decodes it and one record.

    model: versioned name, 1..64 ASCII letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
    model_hash: first 8 bytes of the model's fingerprint.
    """

    model: str
    model_hash: bytes
    stream: Bitstream

    def __post_init__(self) -> None:
        check_model_name(self.model)
        if len(self.model_hash) != HASH_BYTES:
            raise ValueError(f"`model_hash` must have {HASH_BYTES} bytes, got {len(self.model_hash)}")

    def to_bytes(self) -> bytes:
        """The whole file."""
        name = self.model.encode()
        header = MAGIC + bytes((VERSION, len(name))) + name + self.model_hash
        return header + self.stream.to_record(context=header)

    @classmethod
    def from_bytes(cls, data: bytes) -> LatFile:
        """Reads a whole file; raises FormatError that says what is wrong and at which byte."""
        cursor = Cursor(data)
        model, model_hash = _read_model(cursor)
        stream = _read_record(cursor, zlib.crc32(cursor.data[: cursor.at]))
        return cls(model, model_hash, stream)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> LatFile:
        """Reads the file `path`; raises FormatError, and OSError if it cannot be opened."""
        return cls.from_bytes(Path(path).read_bytes())

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the file, whole or not at all."""
        write_bytes(path, self.to_bytes())


@dataclass(frozen=True)
class LatHead:
    """What the first `HEAD_BYTES` of a `.lat` file say, which no checksum covers: model, (height, width), quality."""

    model: str
    model_hash: bytes
    size: tuple[int, int]
    quality: float | None

    @classmethod
    def from_bytes(cls, data: bytes) -> LatHead:
        """Reads the beginning of a file; raises FormatError."""
        cursor = Cursor(data)
        model, model_hash = _read_model(cursor)
        head = _read_head(cursor)
        return cls(model, model_hash, head.size, head.steps / QUALITY_STEPS if head.steps else None)


def check_model_name(name: str) -> None:
    """Raises ValueError for a name that cannot stand in a file's header."""
    if len(name) > MAX_NAME or not _NAME.fullmatch(name.encode()):
        raise ValueError(
            f"a model's name must be 1..{MAX_NAME} letters, digits, '.', '_' and '-', "
            f"beginning with a letter or digit, got {name!r}"
        )


def record_length(data: bytes) -> int:
    """Bytes of the record that `data` begins with, as its first fields tell them; raises FormatError."""
    cursor = Cursor(data)
    head = _read_head(cursor)
    return cursor.at + (8 if head.pixels_checked else 4) + sum(head.lengths) + 4


class Cursor:
    """A position in untrusted bytes. Invariant: 0 <= at <= len(data)."""

    def __init__(self, data: bytes) -> None:
        self.data = bytes(data)
        self.at = 0

    def take(self, count: int, what: str) -> bytes:
        left = len(self.data) - self.at
        if count > left:
            raise FormatError(f"byte {self.at}: truncated: {what} needs {count} bytes, {left} are left")
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self, what: str) -> int:
        """An unsigned number below 2^32, 7 bits a byte, low bits first, in its shortest form."""
        start, value = self.at, 0
        for shift in range(0, 35, 7):
            byte = self.take(1, what)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift > 0:
                    raise FormatError(f"byte {start}: {what} is not in its shortest form")
                if value > _VARINT_LIMIT:
                    break
                return value
        raise FormatError(f"byte {start}: {what} is not below 2^32")


def varint(value: int) -> bytes:
    """The shortest form that `Cursor.varint` reads."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_magic(cursor: Cursor) -> None:
    data = cursor.data
    if data.startswith(MAGIC):
        cursor.at = len(MAGIC)
    elif not data:
        raise FormatError("byte 0: the file is empty")
    elif MAGIC.startswith(data):
        raise FormatError(f"byte {len(data)}: truncated: the file ends within its first {len(MAGIC)} bytes")
    elif data[1:4] == MAGIC[1:4]:
        raise FormatError(
            f"byte 0: damaged .lat file: it begins {data[:6].hex(' ')} instead of {MAGIC.hex(' ')}, "
            "as after a transfer in text mode or over a 7-bit channel"
        )
    else:
        raise FormatError(f"byte 0: not a .lat file: it begins {data[:6].hex(' ')} instead of {MAGIC.hex(' ')}")


def _read_model(cursor: Cursor) -> tuple[str, bytes]:
    """What precedes the record of a file: the model's name and hash."""
    _read_magic(cursor)
    version = cursor.take(1, "the format version")[0]
    if version != VERSION:
        raise FormatError(
            f"byte {len(MAGIC)}: .lat format version {version}, but this pylatent reads version {VERSION}: "
            "the file is damaged, or needs a newer pylatent"
        )
    length = cursor.take(1, "the length of the model name")[0]
    if not 1 <= length <= MAX_NAME:
        raise FormatError(f"byte {cursor.at - 1}: the model name must have 1..{MAX_NAME} bytes, not {length}")
    name = cursor.take(length, "the model name")
    if not _NAME.fullmatch(name):
        raise FormatError(f"byte {cursor.at - length}: {name!r} is not a model name")
    return name.decode(), cursor.take(HASH_BYTES, "the model hash")


def _read_record(cursor: Cursor, crc: int) -> Bitstream:
    start = cursor.at
    head = _read_head(cursor)
    index_crc = int.from_bytes(cursor.take(4, "the index CRC"), "little")
    pixel_crc = int.from_bytes(cursor.take(4, "the pixel CRC"), "little") if head.pixels_checked else None
    end = cursor.at + sum(head.lengths) + 4
    if end > len(cursor.data):
        raise FormatError(
            f"byte {len(cursor.data)}: truncated: the sections and CRC should end at byte {end}, "
            f"the data end at {len(cursor.data)}"
        )
    if end < len(cursor.data):
        raise FormatError(f"byte {end}: {len(cursor.data) - end} trailing bytes after the record")
    sections = tuple(cursor.take(length, "a section") for length in head.lengths)
    found = zlib.crc32(cursor.data[start : cursor.at], crc)
    stored = int.from_bytes(cursor.take(4, "the CRC"), "little")
    if found != stored:
        raise FormatError(
            f"byte {cursor.at - 4}: CRC mismatch: stored {stored:08x}, computed {found:08x}: damaged data"
        )
    quality = head.steps / QUALITY_STEPS if head.steps else None
    residual = sections[-1] if head.residual else None
    if residual is not None:
        sections = sections[:-1]
        if not residual:
            raise FormatError(f"byte {cursor.at - 4}: a residual of no bytes")
    return Bitstream(head.size, quality, sections, index_crc, head.exact, pixel_crc, residual)


class _Head(NamedTuple):
    size: tuple[int, int]
    steps: int  # of the quality
    exact: bool
    pixels_checked: bool
    residual: bool
    lengths: list[int]  # of the sections, a residual's the last


def _read_head(cursor: Cursor) -> _Head:
    size = (_read_side(cursor, "height"), _read_side(cursor, "width"))
    steps = cursor.varint("the quality")
    if steps > MAX_QUALITY * QUALITY_STEPS:
        raise FormatError(f"byte {cursor.at - 1}: the quality is {steps}/64, above the limit of {MAX_QUALITY}")
    field = cursor.varint("the number of sections")
    count = field % INEXACT if field <= RESIDUAL + PIXELS_CHECKED + INEXACT + MAX_SECTIONS else field
    if not 1 <= count <= MAX_SECTIONS:
        raise FormatError(f"byte {cursor.at - 1}: {count} sections declared, 1..{MAX_SECTIONS} are allowed")
    residual = bool(field & RESIDUAL)
    lengths = [cursor.varint(f"the length of section {number}") for number in range(count + residual)]
    return _Head(size, steps, not field & INEXACT, bool(field & PIXELS_CHECKED), residual, lengths)


def _read_side(cursor: Cursor, what: str) -> int:
    start = cursor.at
    side = cursor.varint(f"the {what}")
    if not 1 <= side <= MAX_SIDE:
        raise FormatError(f"byte {start}: the {what} is {side} pixels, allowed are 1..{MAX_SIDE}")
    return side
