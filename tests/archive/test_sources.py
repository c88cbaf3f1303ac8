"""Pictures found in folders and tars, and read again."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from extras import extra

from pylatent import images, zoo
from pylatent.archive import Archive, run
from pylatent.archive.sources import SourceReader, find_sources, read_labels
from pylatent.errors import FormatError, PylatentError, PylatentWarning


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


def make_parquet(path, pictures, labels=None, names=None, rows=3):
    pyarrow = extra("pyarrow")
    from pyarrow.parquet import write_table

    columns = {"image": [{"bytes": data, "path": name} for name, data in pictures]}
    features = {"image": {"_type": "Image"}}
    if labels is not None:
        columns["label"] = labels
        features["label"] = {"_type": "ClassLabel", "names": names}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    write_table(pyarrow.table(columns).replace_schema_metadata(metadata), path, row_group_size=rows)
    return path


def test_parquet(tmp_path):
    pictures = [(f"p{n}.jpg", b"picture %d" % n) for n in range(7)] + [(None, b"last")]
    path = make_parquet(tmp_path / "train-0.parquet", pictures, [0, 1, 0, 1, 0, 1, None, 0], ["cat", "dog"])
    found = list(find_sources([path], keep_extensions=True))
    assert [source.key for source in found][::7] == ["train-0/00000000.jpg", "train-0/00000007"]
    assert [source.label for source in found] == ["cat", "dog"] * 3 + [None, "cat"]
    assert [source.group for source in found] == [0, 0, 0, 1, 1, 1, 2, 2]
    reader = SourceReader()
    assert [reader.read(source) for source in reversed(found)] == [data for _, data in reversed(pictures)]
    numbers = make_parquet(tmp_path / "b.parquet", pictures, list(range(8)))
    assert [source.label for source in find_sources([numbers])] == [str(n) for n in range(8)]
    assert {source.label for source in find_sources([make_parquet(tmp_path / "c.parquet", pictures)])} == {None}


def test_parquet_that_is_of_no_use(tmp_path):
    pyarrow = extra("pyarrow")
    from pyarrow.parquet import write_table

    write_table(pyarrow.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(FormatError, match=r"a\.parquet: no column of pictures, .* there are a"):
        list(find_sources([tmp_path / "a.parquet"]))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 or not")
    with pytest.raises(FormatError, match=r"b\.parquet: no intact Parquet file"):
        list(find_sources([tmp_path / "b.parquet"]))
    found = list(find_sources([make_parquet(tmp_path / "c.parquet", [("a.png", None), ("b.png", b"b")])]))
    with pytest.raises(FormatError, match="row 0 of row group 0 holds no bytes"):
        SourceReader().read(found[0])
    whole = (tmp_path / "c.parquet").read_bytes()
    (tmp_path / "c.parquet").write_bytes(whole[:4] + bytes(40) + whole[44:])
    with pytest.raises(FormatError, match=r"c\.parquet: row group 0 cannot be read"):
        SourceReader().read(found[1])


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(PylatentError, match=r"Parquet needs pyarrow: pip install 'pylatent\[tasks\]'"):
        list(find_sources([tmp_path / "a.parquet"]))


def test_an_archive_of_parquet(tmp_path, model, pictures):
    files = sorted(pictures.rglob("*.png"))[:5]
    rows = [(file.name, file.read_bytes()) for file in files]
    path = make_parquet(tmp_path / "train.parquet", rows, [0, 1, 0, 1, 0], ["cat", "dog"], rows=2)
    summary = run.create(tmp_path / "a", [path], model=model, workers=1, shard_records=3)
    assert summary.complete
    archive = Archive(tmp_path / "a")
    assert list(archive.keys()) == [f"train/{n:08}" for n in range(5)]
    assert archive.labels() == ["cat", "dog", "cat", "dog", "cat"]
    assert archive[0].stream == zoo.load(model).compress(images.read(files[0]).tensor[None] / 255)[0]
    assert run.create(tmp_path / "a", [path], model=model).complete
