"""Shards: what is written is read, and every way to be wrong says what and where."""

import random
import struct
import tempfile
import zlib
from pathlib import Path

import pytest
from archive_cases import HASH, MODEL, record, records, write
from hypothesis import given, settings
from hypothesis import strategies as st

from pylatent.archive import Failure, Record, write_shard
from pylatent.archive import recover as reading
from pylatent.archive.reader import Shard
from pylatent.archive.shard import check_key, footer_bytes, header_bytes, index_bytes
from pylatent.coding.container import Bitstream
from pylatent.errors import FormatError

letters = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\")
parts = st.text(letters, min_size=1, max_size=8).filter(lambda part: part not in (".", ".."))
keys = st.lists(parts, min_size=1, max_size=3).map("/".join)
streams = st.builds(
    Bitstream,
    st.tuples(st.integers(1, 1 << 20), st.integers(1, 1 << 20)),
    st.none() | st.integers(1, 255 * 64).map(lambda steps: steps / 64),
    st.lists(st.binary(max_size=200), min_size=1, max_size=3).map(tuple),
    st.integers(0, (1 << 32) - 1),
)
labels = st.none() | st.text(letters, min_size=1, max_size=8)
many = st.dictionaries(keys, st.tuples(labels, streams), max_size=150)


@settings(max_examples=40, deadline=None)
@given(many)
def test_what_is_written_is_read(content):
    wanted = [Record(key, *rest) for key, rest in sorted(content.items(), key=lambda item: item[0].encode())]
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.lats", wanted)
        shard = Shard(path)
        assert list(shard) == wanted
        assert [shard.find(one.key) for one in wanted] == list(range(len(wanted)))
        assert [(shard.key(n), shard.label(n)) for n in range(len(wanted))] == [(r.key, r.label) for r in wanted]
        assert shard.find("not/here") == (None if "not/here" not in content else shard.find("not/here"))
        assert (shard.header.model, shard.header.model_hash) == (MODEL, HASH)
        assert list(reading.records(path)) == wanted
        shard.close()


def test_the_bytes_are_those_of_the_documentation(tmp_path):
    stream = Bitstream((300, 2), 1.5, (b"AB", b"C"), 0x04030201)
    path = write(tmp_path / "a.lats", [Record("a/b", None, stream), Record("a/é", "cat", stream)], "m-1", b"HASHHASH")

    def sealed(data: bytes) -> bytes:
        return data + zlib.crc32(data).to_bytes(4, "little")

    header = sealed(b"\xecLSH\r\n\x01\x03m-1HASHHASH" + struct.pack("<II", 1, 4) + b"\x03cat")
    body = bytes.fromhex("ac02 02 60 02 02 01 01020304") + b"ABC"
    entries = []
    for prefix in (b"\x03a/b\x00", b"\x04a/\xc3\xa9\x01"):
        entries.append(prefix + body + zlib.crc32(header[-4:] + prefix + body).to_bytes(4, "little"))
    index = b"\x00\x02" + struct.pack("<QHH", len(header), *map(len, entries))
    footer = struct.pack("<QQI", 2, len(header) + sum(map(len, entries)), zlib.crc32(index)) + header[-4:]
    assert path.read_bytes() == header + b"".join(entries) + index + sealed(footer) + b"HSL\n"


@pytest.mark.parametrize(("labelled", "most"), [(False, 23.2), (True, 24.2)])
def test_overhead(tmp_path, labelled, most):
    stream = Bitstream((224, 224), 4.25, (bytes(200), bytes(4000)), 1 << 31)
    wanted = [Record(f"{n:08}", f"class{n % 100}" if labelled else None, stream) for n in range(3000)]
    size = write(tmp_path / "a.lats", wanted).stat().st_size
    assert (size - 3000 * (8 + 4200)) / 3000 <= most + 0.4 * labelled  # the names of 100 labels


def test_large_entries_have_wide_lengths(tmp_path):
    wanted = [record("a"), Record("b", None, Bitstream((9, 9), None, (bytes(70_000),), 0))]
    assert list(Shard(write(tmp_path / "a.lats", wanted))) == wanted


def test_writing_refuses_wrong_order_and_duplicates_and_leaves_nothing(tmp_path):
    for wrong in ([record("b"), record("a")], [record("a"), record("a")]):
        with pytest.raises(ValueError, match="ascending order"):
            write_shard(tmp_path / "a.lats", MODEL, HASH, wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../a", "a/../b", "a//b", "a/", "./a", "a\\b", "a\nb", "a\x9b2J", "x" * 1025, "\ud800"]
)
def test_keys_that_lead_out_of_a_folder_are_refused(key):
    with pytest.raises(ValueError, match="key must"):
        check_key(key)


def test_a_shard_cut_at_any_byte_is_refused_and_recovered(tmp_path):
    wanted = records(5)
    whole = write(tmp_path / "whole.lats", wanted).read_bytes()
    wanted = list(Shard(tmp_path / "whole.lats"))
    path = tmp_path / "cut.lats"
    ends = [Shard(tmp_path / "whole.lats").span(n)[1] for n in range(5)]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError, match=r"cut\.lats: byte \d+: "):
            Shard(path)
        found = list(reading.records(path))
        assert [type(item) for item in found] == [Failure]
        found = list(reading.records(path, recover=True))
        complete = [one for one, end in zip(wanted, ends, strict=True) if end <= size]
        assert [item for item in found if isinstance(item, Record)] == complete
    path.write_bytes(whole + b"\0")
    with pytest.raises(FormatError, match="something was appended"):
        Shard(path)


def test_a_flipped_bit_in_any_byte_costs_at_most_one_record(tmp_path):
    path = write(tmp_path / "a.lats", [record("a", "x"), record("b"), record("c", "y")])
    whole, wanted = path.read_bytes(), list(Shard(path))
    start, end = Shard(path).span(0)[0], Shard(path).span(2)[1]
    for byte in range(len(whole)):
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << byte * 5 % 8
        path.write_bytes(damaged)
        after = byte >= end
        found = list(reading.records(path, recover=after))
        good = [item for item in found if isinstance(item, Record)]
        if start <= byte < end:
            assert len(found) == 3
            assert len(good) == 2
            assert all(one in wanted for one in good)
        else:
            assert isinstance(found[0], Failure)
            assert good == (wanted if after else [])


def test_a_damaged_key_does_not_hide_the_others(tmp_path):
    path = write(tmp_path / "a.lats", records(30, labels=False))
    wanted = list(Shard(path))
    for position in (7, 15, 22):  # which the search looks at
        damaged = bytearray(path.read_bytes())
        damaged[Shard(path).span(position)[0] + 1] = ord("z")
        (tmp_path / "b.lats").write_bytes(damaged)
        shard = Shard(tmp_path / "b.lats")
        places = [shard.find(one.key) for one in wanted]
        assert places == [None if n == position else n for n in range(30)]
        with pytest.raises(FormatError, match=rf"record {position} at byte \d+: .*CRC mismatch"):
            shard[position]


def entries(wanted: list[Record]) -> tuple[bytes, list[bytes]]:
    header = header_bytes(MODEL, HASH, [])
    prefixes = [bytes([len(one.key)]) + one.key.encode() for one in wanted]
    return header, [p + r.stream.to_record(context=header[-4:] + p) for p, r in zip(prefixes, wanted, strict=True)]


def forged(path: Path, header: bytes, parts: list[bytes], index: bytes | None = None, count: int | None = None) -> Path:
    """A shard whose CRCs are all right, whatever else is wrong."""
    index = index_bytes(len(header), [len(part) for part in parts]) if index is None else index
    end = len(header) + sum(map(len, parts))
    footer = footer_bytes(len(parts) if count is None else count, end, zlib.crc32(index), header)
    path.write_bytes(header + b"".join(parts) + index + footer)
    return path


def test_duplicate_and_misplaced_keys_are_reported_and_the_others_read(tmp_path):
    wanted = [record("a"), record("b"), record("b", seed=1), record("c"), record("a", seed=2), record("d")]
    path = forged(tmp_path / "a.lats", *entries(wanted))
    found = list(reading.records(path))
    assert [item for item in found if isinstance(item, Record)] == [wanted[n] for n in (0, 1, 3, 5)]
    reasons = [item.reason for item in found if isinstance(item, Failure)]
    assert reasons[0].endswith("record 2: the key 'b' is there twice")
    assert reasons[1].endswith("record 4: the key 'a' is out of order")


def test_an_entry_of_another_shard_is_refused(tmp_path):
    parts = entries([record("a"), record("b")])[1]
    other = header_bytes("tiny-2", HASH, [])
    forged(tmp_path / "a.lats", other, parts)
    found = list(reading.records(tmp_path / "a.lats"))
    assert ["CRC mismatch" in item.reason for item in found] == [True, True]
    assert [item.key for item in found] == ["a", "b"]


@pytest.mark.parametrize("count", [0, 1, 3, 1 << 40, (1 << 64) - 1])
def test_hostile_counts(tmp_path, count):
    header, parts = entries([record("a"), record("b")])
    with pytest.raises(FormatError, match=r"a\.lats: byte \d+: "):
        Shard(forged(tmp_path / "a.lats", header, parts, count=count))


def test_hostile_indexes(tmp_path):
    header, parts = entries([record("a"), record("b")])
    sizes, start = [len(part) for part in parts], len(header)
    for index in (
        b"",
        b"\0\2",
        index_bytes(start + 1, sizes),
        index_bytes(start, [sizes[0] - 1, sizes[1] + 1])[:-1],
        index_bytes(start, [sizes[0] + 1, sizes[1]]),
        index_bytes(start, [sum(sizes), 0]),
        b"\0\4" + struct.pack("<QII", start, sizes[0] - 1, (1 << 32) - 1),
        b"\1" + index_bytes(start, sizes)[1:],
    ):
        with pytest.raises(FormatError, match=r"a\.lats: byte \d+: "):
            Shard(forged(tmp_path / "a.lats", header, parts, index))


@pytest.mark.parametrize(
    ("labels", "table"),
    [(1 << 31, b"\1a"), (1, b""), (1, b"\1ab"), (1, b"\0"), (1, b"\1\n"), (1, b"\1\xff"), (2, b"\1a")],
)
def test_hostile_headers(tmp_path, labels, table):
    body = b"\xecLSH\r\n\x01\x03m-1HASHHASH" + struct.pack("<II", labels, len(table)) + table
    with pytest.raises(FormatError, match=r"a\.lats: byte \d+: "):
        Shard(forged(tmp_path / "a.lats", body + zlib.crc32(body).to_bytes(4, "little"), []))


def test_other_files_are_no_shards(tmp_path):
    path = tmp_path / "a.lats"
    for data, text in ((b"", "is empty"), (b"\x89PNG\r\n\x1a\n", "not a shard"), (b"\xecLSH\r\n\x02", "version 2")):
        path.write_bytes(data)
        with pytest.raises(FormatError, match=text):
            Shard(path)


def test_the_search_after_damage_is_bounded(tmp_path):
    header, parts = entries([record("a")])
    claim = b"\1b" + bytes.fromhex("01 01 00 01") + b"\xff\xff\x03" + bytes(4)  # an entry of 64 kB at every 20 bytes
    path = tmp_path / "a.lats"
    path.write_bytes(header + parts[0] + b"\1\n" + (claim + bytes([1] * 7)) * 10_000)
    found = list(reading.records(path, recover=True))
    assert found[1] == record("a")
    assert "given up" in found[2].reason


def test_mutants_are_refused_or_read(tmp_path):
    """Random damage, half of it with every CRC made right again: nothing but FormatError, and no key twice."""
    whole = write(tmp_path / "a.lats", records(70)).read_bytes()
    size = Shard(tmp_path / "a.lats").header.size
    draw = random.Random(5)
    path = tmp_path / "b.lats"
    for number in range(200):
        data = bytearray(whole)
        for _ in range(draw.choice((1, 2, 5))):
            at = draw.choice((draw.randrange(size), draw.randrange(len(data) - 8), len(data) - draw.randrange(9, 250)))
            value = draw.choice((0, 1, 255, 65535, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 64) - 1))
            new = draw.choice((b"", draw.randbytes(draw.randrange(1, 9)), struct.pack("<Q", value)))
            data[at : at + draw.choice((0, 1, len(new)))] = new
        if number % 2:
            data[size - 4 : size] = zlib.crc32(data[: size - 4]).to_bytes(4, "little")
            end = int.from_bytes(data[-24:-16], "little")
            data[-16:-12] = zlib.crc32(data[min(end, len(data) - 32) : -32]).to_bytes(4, "little")
            data[-12:-8] = data[size - 4 : size]
            data[-8:] = zlib.crc32(data[-32:-8]).to_bytes(4, "little") + b"HSL\n"
        path.write_bytes(data)
        for recover in (False, True):
            found = [item.key for item in reading.records(path, recover=recover) if isinstance(item, Record)]
            assert len(found) == len(set(found))
        try:
            shard = Shard(path)
        except FormatError:
            continue
        for key in ("class1/00004", "class0/00000", "zz"):
            position = shard.find(key)
            assert position is None or shard.key(position) == key
