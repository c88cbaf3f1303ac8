"""Records and .lat files: round trips, overhead, and every way to be wrong."""

import dataclasses
import os
import random
import zlib

import pytest

from pylatent.coding.container import MAGIC, MAX_SIDE, Bitstream, LatFile, record_length
from pylatent.errors import FormatError

STREAM = Bitstream(size=(512, 768), quality=4.25, sections=(bytes(range(200)), b"y" * 20_000), index_crc=0x89ABCDEF)
FILE = LatFile("default-1", b"12345678", STREAM)


def sealed(body: bytes, context: bytes = b"") -> bytes:
    """A record with a valid CRC, whatever its body."""
    return body + zlib.crc32(context + body).to_bytes(4, "little")


@pytest.mark.parametrize(
    "stream",
    [
        STREAM,
        Bitstream((1, 1), None, (b"",), 0),
        Bitstream((MAX_SIDE, MAX_SIDE), 255.0, (b"", b"a", b"bc"), 0xFFFFFFFF),
        Bitstream((127, 128), 1 / 64, (b"x" * 127, b"y" * 128), 1),
        Bitstream((3, 5), 2.5, tuple(bytes([k]) for k in range(64)), 7),
        Bitstream((3, 5), 2.5, (b"z", b"y"), 7, exact=False),
        Bitstream((3, 5), 2.5, (b"",) * 64, 7, exact=False),
        Bitstream((3, 5), 2.5, (b"z", b"y"), 7, pixel_crc=0),
        Bitstream((3, 5), 2.5, (b"z",) * 64, 7, exact=False, pixel_crc=0xFFFFFFFF),
        Bitstream((3, 5), 2.5, (b"z", b"y"), 7, residual=b"\0"),
        Bitstream((3, 5), None, (b"z",) * 64, 7, pixel_crc=3, residual=b"\x7f" + bytes(300)),
    ],
)
def test_what_is_written_is_read(stream):
    assert Bitstream.from_record(stream.to_record()) == stream
    file = LatFile("a", bytes(8), stream)
    assert LatFile.from_bytes(file.to_bytes()) == file


def test_the_bytes_are_those_of_the_documentation():
    stream = Bitstream((300, 2), 1.5, (b"AB", b"C"), 0x04030201)
    body = bytes.fromhex("ac02 02 60 02 02 01 01020304") + b"ABC"
    assert stream.to_record() == sealed(body)
    checked = dataclasses.replace(stream, pixel_crc=0x08070605)
    of_checked = bytes.fromhex("ac02 02 60 8202 02 01 01020304 05060708") + b"ABC"
    assert checked.to_record() == sealed(of_checked)
    assert record_length(checked.to_record() + b"more") == len(of_checked) + 4 == record_length(stream.to_record()) + 5
    corrected = dataclasses.replace(checked, residual=b"\2RR")
    of_corrected = bytes.fromhex("ac02 02 60 8206 02 01 03 01020304 05060708") + b"ABC\2RR"
    assert corrected.to_record() == sealed(of_corrected)
    assert record_length(corrected.to_record()) == len(of_corrected) + 4
    with pytest.raises(FormatError, match="a residual of no bytes"):
        Bitstream.from_record(sealed(bytes.fromhex("ac02 02 60 8206 02 01 00 01020304 05060708") + b"ABC"))
    header = b"\xecLAT\r\n\x01\x03m-1HASHHASH"
    assert LatFile("m-1", b"HASHHASH", stream).to_bytes() == header + sealed(body, context=header)


@pytest.mark.parametrize(
    ("size", "most"), [((1, 1), 45), ((512, 768), 45), ((8000, 6000), 45), ((MAX_SIDE, MAX_SIDE), 64)]
)
def test_overhead(size, most):
    sections = (bytes(3000), bytes(size[0] * size[1] // 64 % 10**7))
    file = LatFile("default-1", bytes(8), Bitstream(size, 4.25, sections, 1 << 31))
    assert len(file.to_bytes()) - sum(map(len, sections)) <= most


def test_every_flipped_bit_and_every_truncation_is_refused():
    small = LatFile("default-1", b"12345678", dataclasses.replace(STREAM, sections=(b"z" * 5, b"y" * 30))).to_bytes()
    for bit in range(8 * len(small)):
        damaged = bytearray(small)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError, match=r"^byte \d+: "):
            LatFile.from_bytes(bytes(damaged))
    for length in range(len(small)):
        with pytest.raises(FormatError, match=r"truncated|empty"):
            LatFile.from_bytes(small[:length])


def test_random_bytes_never_raise_anything_else():
    draw = random.Random(5)
    for _ in range(3000):
        data = MAGIC + b"\x01" + draw.randbytes(draw.randrange(60)) if draw.random() < 0.8 else draw.randbytes(40)
        with pytest.raises(FormatError):
            LatFile.from_bytes(data)
        with pytest.raises(FormatError):
            Bitstream.from_record(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "byte 0: the file is empty"),
        (b"\x89PNG\r\n\x1a\n", "byte 0: not a .lat file"),
        (MAGIC.replace(b"\r\n", b"\n") + b"\x01", "text mode"),
        (MAGIC.replace(b"\n", b"\r\n") + b"\x01", "text mode"),
        (b"\x6cLAT\r\n\x01", "7-bit"),
        (MAGIC + b"\x02" + bytes(40), "byte 6: .lat format version 2"),
        (MAGIC + b"\x01\x00" + bytes(40), "byte 7: the model name must have 1..64 bytes, not 0"),
        (MAGIC + b"\x01\x02-a" + bytes(40), "byte 8: b'-a' is not a model name"),
        (FILE.to_bytes() + b"\0", "1 trailing bytes"),
        (FILE.to_bytes() * 2, "trailing bytes"),
    ],
)
def test_file_errors_say_what_and_where(data, message):
    with pytest.raises(FormatError, match=message):
        LatFile.from_bytes(data)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("00 01 00 01 00 00000000", "byte 0: the height is 0 pixels"),
        ("01 818040 00 01 00 00000000", "byte 1: the width is 1048577 pixels"),
        ("8000 01 00 01 00 00000000", "byte 0: the height is not in its shortest form"),
        ("ffffffff7f 01 00 01 00 00000000", r"byte 0: the height is not below 2\^32"),
        ("ffffffffffffffffffff01", r"byte 0: the height is not below 2\^32"),
        ("01 01 c17f 01 00 00000000", "the quality is 16321/64"),
        ("01 01 00 00 00000000", "0 sections declared"),
        ("01 01 00 41 00000000", "65 sections declared"),
        ("01 01 00 8001 00000000", "0 sections declared"),
        ("01 01 00 c101 00000000", "65 sections declared"),
        ("01 01 00 8002 00000000", "0 sections declared"),
        ("01 01 00 c103 00000000", "65 sections declared"),
        ("01 01 00 c107 00000000", "961 sections declared"),
        ("01 01 00 8103 00 00000000 000000", "truncated: the sections and CRC should end at byte 18"),
        ("01 01 00 02 01 ffffffff0f 00000000", "truncated: the sections and CRC should end at byte 4294967314"),
        ("01 01 00 01 00 00000000 ff", "byte 13: 1 trailing bytes"),
    ],
)
def test_record_errors_say_what_and_where(body, message):
    with pytest.raises(FormatError, match=message):
        Bitstream.from_record(sealed(bytes.fromhex(body)))


def test_a_record_of_another_file_is_refused():
    other = LatFile("default-2", b"12345678", STREAM).to_bytes()
    record_of_file = FILE.to_bytes()[len(MAGIC) + 2 + len("default-1") + 8 :]
    with pytest.raises(FormatError, match="CRC mismatch"):
        LatFile.from_bytes(other[: len(MAGIC) + 2 + len("default-2") + 8] + record_of_file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (0, 1)}, "height must be"),
        ({"size": (1, MAX_SIDE + 1)}, "width must be"),
        ({"quality": 0.0}, "`quality`"),
        ({"quality": 1.01}, "`quality`"),
        ({"quality": float("nan")}, "`quality`"),
        ({"quality": float("inf")}, "`quality`"),
        ({"sections": ()}, "`sections`"),
        ({"index_crc": -1}, "`index_crc`"),
        ({"pixel_crc": 1 << 32}, "`pixel_crc`"),
    ],
)
def test_a_stream_that_could_not_be_read_back_cannot_be_made(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(STREAM, **change)


@pytest.mark.parametrize(
    ("name", "digest"), [("", bytes(8)), ("a b", bytes(8)), ("é", bytes(8)), ("a" * 65, bytes(8)), ("a", b"1")]
)
def test_a_header_that_could_not_be_read_back_cannot_be_made(name, digest):
    with pytest.raises(ValueError, match="model.*(must be|must have)"):
        LatFile(name, digest, STREAM)


def test_files_on_disk(tmp_path):
    path = tmp_path / "a.lat"
    FILE.write(path)
    assert LatFile.read(path) == FILE
    assert os.listdir(tmp_path) == ["a.lat"]
    with pytest.raises(FileNotFoundError):
        LatFile.read(tmp_path / "none.lat")
