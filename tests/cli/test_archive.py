"""The verbs of `pylatent archive`: what they print, what they write, exit codes."""

import json
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from archive_cases import HASH, MODEL, record, records, write
from fake_codec import FakeCodec, install
from PIL import Image

from pylatent import cli
from pylatent.archive import Record, run
from pylatent.archive.report import Summary
from pylatent.coding.container import LatFile


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Two shards: class0/00000 to class2/00004, and class0/00005."""
    monkeypatch.chdir(tmp_path)
    wanted = records(6)
    (tmp_path / "a").mkdir()
    write(tmp_path / "a" / "0.lats", wanted[:5])
    write(tmp_path / "a" / "1.lats", wanted[5:])
    return tmp_path / "a"


def pylatent(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    return caught.value.code or 0


def damage(path, key: str) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(key.encode()) + 30] ^= 1
    path.write_bytes(data)


def test_ls(archive, capsys):
    assert pylatent("archive", "ls", "a") == 0
    keys = capsys.readouterr().out.splitlines()
    assert keys == ["class0/00000", "class0/00003", "class1/00001", "class1/00004", "class2/00002", "class2/00005"]
    assert pylatent("archive", "ls", "-l", "a/1.lats") == 0
    assert capsys.readouterr().out.split() == ["64x48", "4", "44", "class2/00005", "class2"]
    damage(archive / "0.lats", "class1/00001")
    assert pylatent("archive", "ls", "--json", "a") == 1
    said = capsys.readouterr()
    facts = [json.loads(line) for line in said.out.splitlines()]
    assert [fact["key"] for fact in facts] == [key for key in keys if key != "class1/00001"]
    assert (facts[0]["label"], facts[0]["width"], facts[0]["height"], facts[0]["quality"]) == ("class0", 64, 48, 4.0)
    assert "0.lats: record 2 at byte" in said.err


def test_info(archive, capsys):
    assert pylatent("archive", "info", "a") == 0
    text = capsys.readouterr().out
    assert "records   6 in 2 shards" in text
    assert f"model     {MODEL}, hash {HASH.hex()}" in text
    assert "labels    3, on 6 records" in text
    assert pylatent("archive", "info", "--json", "a") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["records"], facts["shards"], facts["labels"]) == (6, 2, {"class0": 2, "class1": 2, "class2": 2})
    assert facts["bytes"] == sum(path.stat().st_size for path in archive.iterdir())


def test_verify(archive, capsys):
    assert pylatent("archive", "verify", "a") == 0
    assert capsys.readouterr().err == "pylatent: a: 6 records are intact\n"
    damage(archive / "0.lats", "class1/00001")
    write(archive / "2.lats", [record("class2/00005"), record("new")])
    (archive / "3.lats").write_bytes(b"\xecLSH\r\n")
    assert pylatent("archive", "verify", "--json", "a") == 1
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["records"] == 5
    reasons = sorted(failure["reason"] for failure in found["failures"])
    assert [reason.split(":")[0] for reason in reasons] == ["a/0.lats", "a/1.lats", "a/2.lats", "a/3.lats"]
    assert sum("is in several shards" in reason for reason in reasons) == 2
    assert said.err.count("\n") == 4


def test_verify_decodes(archive, capsys, monkeypatch):
    install(monkeypatch, FakeCodec())
    assert pylatent("archive", "verify", "--decode", "a") == 1
    assert "model tiny-1 with hash 0123456789abcdef is not installed" in capsys.readouterr().err


def test_cat(archive, capfdbinary):
    assert pylatent("archive", "cat", "a", "class2/00005") == 0
    file = LatFile.from_bytes(capfdbinary.readouterr().out)
    assert (file.model, file.model_hash, file.stream) == (MODEL, HASH, records(6)[5].stream)
    assert pylatent("archive", "cat", "a", "nothing") == 1
    assert b"has no record 'nothing'" in capfdbinary.readouterr().err


def test_extract_to_lat_files(archive, tmp_path, capsys):
    assert pylatent("archive", "extract", "a", "-o", "out") == 0
    for one in records(6):
        assert LatFile.read(tmp_path / "out" / f"{one.key}.lat").stream == one.stream
    damage(archive / "0.lats", "class1/00001")
    assert pylatent("archive", "extract", "a", "class1/00001", "class0/00000", "x", "-o", "out") == 1
    said = capsys.readouterr().err
    assert "record 2 at byte" in said
    assert "class0/00000.lat exists: --force overwrites it" in said
    assert "a has no record 'x'" in said
    assert pylatent("archive", "extract", "a", "-o", "out", "--force") == 1
    assert "out: 5 files; 1 failure\n" in capsys.readouterr().err


def test_extract_recovers_a_shard_that_was_cut_off(archive, tmp_path, capsys):
    path = archive / "0.lats"
    path.write_bytes(path.read_bytes()[:-40])
    assert pylatent("archive", "extract", "a", "-o", "out") == 1
    assert len(list((tmp_path / "out").rglob("*.lat"))) == 1
    assert pylatent("archive", "extract", "a", "-o", "more", "--recover") == 1
    assert len(list((tmp_path / "more").rglob("*.lat"))) == 6
    assert "does not end with a shard's footer" in capsys.readouterr().err


def test_extract_to_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    codec = FakeCodec()
    install(monkeypatch, codec)
    import torch

    stream = codec.compress(torch.rand(1, 3, 9, 7), 8.0)[0]
    write(tmp_path / "a.lats", [Record("deep/one", None, stream), record("two")], codec.name, codec.fingerprint()[:8])
    assert pylatent("archive", "extract", "a.lats", "-o", "out", "--format", "png") == 1
    assert np.asarray(Image.open("out/deep/one.png")).shape == (9, 7, 3)
    assert "two: section 1" in capsys.readouterr().err
    assert pylatent("archive", "extract", "a.lats", "--format", "lol") == 1
    assert "names no picture format" in capsys.readouterr().err


def test_mixed_models(archive, capsys):
    write(archive / "2.lats", [record("x")], "other-1")
    for verb in (["ls"], ["info"], ["verify"], ["extract"]):
        assert pylatent("archive", *verb, "a") == 1
        assert "a mixes models: " in capsys.readouterr().err


def test_no_archive(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert pylatent("archive", "ls", "nothing") == 1
    assert capsys.readouterr().err == "pylatent: nothing: No such file or directory\n"
    assert pylatent("archive", "create", "a") == 1
    assert "has no plan to continue" in capsys.readouterr().err


def test_create(tmp_path, monkeypatch, capsys):
    """The options arrive, and the summary becomes text, JSON and an exit code."""
    monkeypatch.chdir(tmp_path)
    asked = {}
    summary = Summary(2, 10, 9, [("k", "k.png: damaged")], {1: "its process ended with code -9"})

    def create(folder, inputs, **options):
        asked.update(options, folder=folder, inputs=inputs)
        return summary

    monkeypatch.setattr(run, "create", create)
    assert (
        pylatent("archive", "create", "a", "photos", "x.tar", "-q", "2.5", "--shard-size", "64", "--labels", "l.csv")
        == 1
    )
    assert [str(path) for path in (asked["folder"], *asked["inputs"], asked["labels"])] == [
        "a",
        "photos",
        "x.tar",
        "l.csv",
    ]
    assert (asked["quality"], asked["shard_bytes"], asked["engine"], asked["workers"]) == (2.5, 64 << 20, "local", None)
    assert capsys.readouterr().err.splitlines() == [
        "pylatent: k: k.png: damaged",
        "pylatent: shard 1 could not be made: its process ended with code -9",
        "pylatent: a: 9 records in 2 shards; 1 missing: run again to retry",
    ]
    summary = Summary(2, 10, 10, [], {})
    assert pylatent("archive", "create", "a", "photos", "--labels", "folder", "--engine", "ray", "--json") == 0
    assert (asked["labels"], asked["engine"]) == ("folder", "ray")
    assert json.loads(capsys.readouterr().out)["records"] == 10


def test_looking_does_not_import_torch(archive):
    verbs = [["ls", "-l", "a"], ["info", "a"], ["verify", "a"], ["cat", "a", "class2/00005"], ["extract", "a"]]
    code = (
        "import sys, pylatent.cli\n"
        f"for verb in {verbs!r}:\n"
        "    try: pylatent.cli.main(['archive', *verb])\n"
        "    except SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_an_empty_folder_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert pylatent("archive", "create", "a", "empty") == 1
    assert capsys.readouterr().err == "pylatent: there are no pictures in empty\n"
    assert pylatent("archive", "create", "a", "missing") == 1
    (tmp_path / "photos").mkdir()
    for name in ("x.png", "x.bmp"):
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name)
    assert pylatent("archive", "create", "a", "photos") == 1
    assert "1 keys are there twice" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "photos"]


def test_wrong_options_of_create_are_not_defects(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert pylatent("archive", "create", "a", "photos", "-q", "99") == 2
    assert capsys.readouterr().err == "pylatent: --quality: the quality must be from 1 to 8 for default-2, got 99\n"


def test_what_could_not_be_searched_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    passed = [("photos/secret", "cannot be searched: Permission denied", True), ("photos/loop", "a link back", False)]
    monkeypatch.setattr(run, "create", lambda *_, **__: Summary(1, 10, 10, [], {}, passed))
    assert pylatent("archive", "create", "a", "photos") == 1
    assert capsys.readouterr().err.splitlines() == [
        "pylatent: photos/secret: cannot be searched: Permission denied",
        "pylatent: photos/loop skipped: a link back",
        "pylatent: a: 10 records in 1 shard",
    ]


def test_export_and_back(archive, tmp_path, capsysbinary):
    """Every record, with its label, through a tar and into an archive again."""
    assert pylatent("archive", "export", "a", "a.tar") == 0
    assert capsysbinary.readouterr().err == b"pylatent: a.tar: 6 records\n"
    with tarfile.open("a.tar") as tar:
        names = tar.getnames()
        assert names[:2] == ["class0/00000.lat", "class0/00000.cls"]
        assert len(names) == 12
        assert tar.extractfile("class0/00000.cls").read() == b"class0"
        assert LatFile.from_bytes(tar.extractfile("class0/00000.lat").read()).model == MODEL
    assert pylatent("archive", "export", "a", "a.tar") == 2  # it exists
    assert pylatent("archive", "export", "a", "-", "class0/00000", "--quiet") == 0
    assert capsysbinary.readouterr().out.startswith(b"class0/00000.lat\0")
    damage(archive / "0.lats", "class1/00001")
    assert pylatent("archive", "export", "a", "b.tar") == 1
    assert b"record 2 at byte" in capsysbinary.readouterr().err
    with tarfile.open("b.tar") as tar:
        assert len(tar.getnames()) == 10


def test_extract_skips_what_is_there(archive, capsys):
    assert pylatent("archive", "extract", "a", "class0/00000", "-o", "out") == 0
    assert pylatent("archive", "extract", "a", "-o", "out", "--skip-existing") == 0
    assert capsys.readouterr().err.splitlines()[-1] == "pylatent: out: 5 files; 1 skipped"
    assert pylatent("archive", "extract", "a", "-o", "out") == 1
