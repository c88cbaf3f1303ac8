"""Pictures found in folders and tars, and read again."""

import io
import tarfile
from pathlib import Path

import pytest

from pylatent.archive.sources import SourceReader, find_sources, read_labels
from pylatent.errors import FormatError, PylatentWarning


def make_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


SAMPLES = {
    "./a/0001.png": b"first",
    "./a/0001.cls": b"7\n",
    "./a/0001.json": b"{}",
    "./a/0002.cls": b"8",
    "./a/0002.jpg": b"second",
    "./a/0002.mask.png": b"its mask" * 300,
    "b/" + "n" * 150 + ".webp": b"third",
}


def test_a_folder(pictures):
    (pictures / ".hidden").mkdir()
    (pictures / ".hidden" / "x.png").write_bytes(b"")
    (pictures / "notes.txt").write_bytes(b"")
    (pictures / "top.JPG").write_bytes(b"the bytes")
    found = list(find_sources([pictures]))
    assert [source.key for source in found][:3] == ["top", "class0/00", "class0/03"]
    assert len(found) == 19
    assert {source.label for source in found} == {None}
    assert SourceReader().read(found[0]) == b"the bytes"
    labelled = list(find_sources([pictures], folder_labels=True, keep_extensions=True))
    assert [(source.key, source.label) for source in labelled][:2] == [("top.JPG", None), ("class0/00.png", "class0")]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar(tmp_path, mode):
    found = list(find_sources([make_tar(tmp_path / "a.tar", SAMPLES, mode)]))
    assert [(source.key, source.label) for source in found] == [
        ("a/0001", "7"),
        ("a/0002", "8"),
        ("a/0002.mask", "8"),
        ("b/" + "n" * 150, None),
    ]
    reader = SourceReader()
    wanted = [b"first", b"second", b"its mask" * 300, b"third"]
    assert [reader.read(source) for source in found] == wanted
    assert [reader.read(source) for source in reversed(found)] == wanted[::-1]
    reader.close()


def test_a_tar_without_end_mark_is_warned_about(tmp_path):
    path = make_tar(tmp_path / "a.tar", SAMPLES)
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset_data + 512])
    with pytest.warns(PylatentWarning, match=r"a\.tar has no end mark"):
        assert len(list(find_sources([path]))) == 4


@pytest.mark.parametrize(("mode", "size"), [("w", 12_300), ("w", 14_000), ("w:gz", 200)])
def test_a_tar_that_is_cut_off_is_refused(tmp_path, mode, size):
    path = make_tar(tmp_path / "a.tar", {f"{n}.png": bytes(range(256)) * 9 for n in range(9)}, mode)
    whole = path.read_bytes()
    found = list(find_sources([path]))
    path.write_bytes(whole[:size])
    with pytest.raises(FormatError, match=r"a\.tar: neither a folder nor an intact tar"):
        list(find_sources([path]))
    with pytest.raises(FormatError, match=r"a\.tar: cut off|a\.tar: cannot be decompressed"):
        SourceReader().read(found[-1])


def test_a_tar_with_a_damaged_header_is_refused(tmp_path):
    path = make_tar(tmp_path / "a.tar", SAMPLES)
    data = bytearray(path.read_bytes())
    data[1024] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"a\.tar: .*no member can be read at byte 1024"):
        list(find_sources([path]))


def test_what_is_no_tar(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"nothing of that kind" * 100)
    with pytest.raises(FormatError, match="neither a folder nor an intact tar"):
        list(find_sources([tmp_path / "a.tar"]))
    with pytest.raises(FileNotFoundError):
        list(find_sources([tmp_path / "b.tar"]))


def test_names_that_cannot_be_keys(tmp_path):
    with pytest.raises(FormatError, match=r"a\.tar: a key must be a relative path .*: rename the picture"):
        list(find_sources([make_tar(tmp_path / "a.tar", {"../../up.png": b""})]))


def test_labels_of_a_csv(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text('key,label,more\na/1.png,cat,x\n"b,2",big dog\n\n', encoding="utf-8-sig")
    assert read_labels(path) == {"a/1.png": "cat", "b,2": "big dog"}
    path.write_text("a\n")
    with pytest.raises(FormatError, match=r"labels\.csv: line 1: expected a key and a label"):
        read_labels(path)
