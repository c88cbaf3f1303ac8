"""The verbs compress and decompress: names, folders, pipes, failures. The codec is a fake one; see test_api for it."""

import io
import os
import shutil
import sys

import numpy as np
import pytest
from fake_codec import FakeCodec, install
from PIL import Image

from pylatent import cli
from pylatent.coding.container import LatFile


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a.png, sub/b.jpg and sub/notes.txt, and a zoo with a fake model."""
    install(monkeypatch, FakeCodec(), FakeCodec("fixed-1", variable=False))
    monkeypatch.chdir(tmp_path)
    pixels = (np.arange(20 * 30 * 3) % 251).astype(np.uint8).reshape(20, 30, 3)
    (tmp_path / "sub").mkdir()
    Image.fromarray(pixels).save("a.png")
    Image.fromarray(pixels[:11]).save("sub/b.jpg")
    (tmp_path / "sub" / "notes.txt").write_text("nothing")
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    return caught.value.code or 0


def files(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def pipe(monkeypatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


BEFORE = ["a.png", "sub/b.jpg", "sub/notes.txt"]


def test_zero_flags(folder, capsys):
    assert run("compress", "a.png") == 0
    assert files(folder) == sorted([*BEFORE, "a.lat"])
    line = capsys.readouterr().err
    assert line.startswith("a.png -> a.lat  30x20, quality 4, ")
    assert line.count("\n") == 1
    assert " bpp, 1:" in line
    os.rename("a.png", "original.png")
    assert run("decompress", "a.lat") == 0
    assert Image.open("a.png").size == (30, 20)
    assert capsys.readouterr().err.startswith("a.lat -> a.png  30x20, ")


@pytest.mark.parametrize(
    ("options", "made"),
    [
        (["a.png", "-o", "x.lat"], ["x.lat"]),
        (["a.png", "-o", "sub"], ["sub/a.lat"]),
        (["sub"], ["sub/b.lat"]),
        (["."], ["a.lat", "sub/b.lat"]),
        ([".", "-o", "out"], ["out/a.lat", "out/sub/b.lat"]),
        (["a.png", "sub/b.jpg", "-o", "out/deep"], ["out/deep/a.lat", "out/deep/b.lat"]),
    ],
)
def test_names_of_outputs(folder, options, made):
    assert run("compress", *options) == 0
    assert files(folder) == sorted([*BEFORE, *made])


def test_quality_and_targets(folder):
    assert run("compress", "a.png", "-q", "2.5", "-o", "q.lat") == 0
    assert LatFile.read("q.lat").stream.quality == 2.5
    target = 8 * os.path.getsize("q.lat") / 600 + 0.5
    assert run("compress", "a.png", "--target-bpp", str(target), "-o", "b.lat") == 0
    assert LatFile.read("b.lat").stream.quality >= 2.5
    assert 8 * os.path.getsize("b.lat") / 600 <= target
    assert run("compress", "a.png", "--target-psnr", "30", "--model", "fake-1", "-o", "p.lat") == 0


@pytest.mark.filterwarnings("default::pylatent.errors.PylatentWarning")
def test_an_unreachable_target_is_reported(folder, capsys):
    assert run("compress", "a.png", "--target-bpp", "0.1") == 0
    assert "pylatent: warning: 0.1 bit per pixel is out of reach" in capsys.readouterr().err


def test_conversions_are_reported(folder, capsys):
    Image.open("a.png").convert("L").save("grey.png")
    assert run("compress", "grey.png") == 0
    assert "pylatent: grey.png: grey converted to RGB\n" in capsys.readouterr().err
    assert run("compress", "grey.png", "--quiet", "--force") == 0
    assert capsys.readouterr().err == ""


def test_nothing_is_overwritten_without_force(folder, capsys):
    (folder / "a.lat").write_bytes(b"precious")
    assert run("compress", "a.png") == 1
    assert capsys.readouterr().err == (
        "pylatent: a.png: a.lat exists: --force overwrites it, --skip-existing passes it over, -o names another output"
        "\n"
    )
    assert (folder / "a.lat").read_bytes() == b"precious"
    assert run("compress", "a.png", "--force") == 0
    assert run("decompress", "a.lat") == 1
    assert "a.png exists" in capsys.readouterr().err


def test_two_inputs_of_one_name(folder, capsys):
    shutil.copy("sub/b.jpg", "a.jpg")
    assert run("compress", "a.jpg", "a.png", "--force") == 1
    assert "a.png: a.lat is made from a.jpg already: give the inputs different names" in capsys.readouterr().err
    assert LatFile.read("a.lat").stream.size == (11, 30)


def test_pipes(folder, monkeypatch, capfdbinary):
    pipe(monkeypatch, (folder / "a.png").read_bytes())
    assert run("compress", "-") == 0
    data = capfdbinary.readouterr().out
    assert LatFile.from_bytes(data).stream.size == (20, 30)
    pipe(monkeypatch, data)
    assert run("decompress", "-", "--format", "ppm") == 0
    assert capfdbinary.readouterr().out.startswith(b"P6")
    pipe(monkeypatch, data)
    assert run("decompress", "-", "-o", "x.png") == 0
    assert run("compress", "x.png", "-o", "-", "--quiet") == 0
    assert files(folder) == sorted([*BEFORE, "x.png"])


def test_standard_input_is_named_in_errors(folder, monkeypatch, capsys):
    for verb, message in (
        ("compress", "not a picture"),
        ("decompress", "byte 0: not a .lat file"),
        ("info", "byte 0: not"),
    ):
        pipe(monkeypatch, b"a - b")
        assert run(verb, "-") == 1
        assert capsys.readouterr().err.startswith(f"pylatent: standard input: {message}")


def test_one_bad_file_does_not_stop_the_others(folder, capsys):
    (folder / "sub" / "bad.png").write_text("no picture")
    (folder / "sub" / "cut.jpg").write_bytes((folder / "sub" / "b.jpg").read_bytes()[:200])
    assert run("compress", ".") == 1
    assert files(folder) == sorted([*BEFORE, "a.lat", "sub/b.lat", "sub/bad.png", "sub/cut.jpg"])
    said = capsys.readouterr().err.splitlines()
    assert (
        "pylatent: sub/bad.png: not a picture in a format that Pillow reads: it begins 6e 6f 20 70 69 63 74 75" in said
    )
    assert any(line.startswith("pylatent: sub/cut.jpg: ") for line in said)
    assert said[-1].startswith("2 of 4 files, ")
    assert said[-1].endswith("; 2 failed")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["compress", "none.png"], 1, "pylatent: none.png: No such file or directory"),
        (["compress", "sub/notes.txt"], 1, "pylatent: sub/notes.txt: not a picture"),
        (["compress", "a.png", "-o", "none/x.lat", "--model", "nix"], 1, "pylatent: no model nix"),
        (["compress", "a.png", "-q", "9"], 2, "--quality: the quality must be from 1 to 8 for fake-1, got 9"),
        (["compress", "a.png", "-q", "1", "--target-bpp", "1"], 2, "only one of"),
        (["compress", "a.png", "-m", "fixed-1", "-q", "1"], 2, "fixed-1 has one fixed rate"),
        (["compress", "a.png", "--target-bpp", "0"], 2, "--target-bpp must be above 0, got 0"),
        (["compress", "a.png", "--target-psnr", "nan"], 2, "--target-psnr must be above 0, got nan"),
        (["compress", "a.png", "--device", "abacus"], 2, "--device abacus cannot be used: "),
        (["compress", "a.png", "sub", "-o", "-"], 2, "one picture, not several"),
        (["compress", "a.png", "sub", "-o", "a.png"], 2, "-o must be a folder for several inputs"),
        (["compress", "empty"], 1, "there are no pictures in the folder empty"),
        (
            ["decompress", "a.png", "-o", "x.png"],
            1,
            "pylatent: a.png: this is a PNG picture, not a .lat file: `pylatent compress` makes one of it",
        ),
        (["decompress", "cut.lat"], 1, "pylatent: cut.lat: byte 60: truncated"),
        (["decompress", "good.lat", "-o", "x.xyz"], 1, "pylatent: x.xyz: the extension '.xyz' names no picture format"),
        (["decompress", "other.lat"], 1, "pylatent: other.lat: model other-1 with hash"),
        (["info", "a.png"], 1, "pylatent: a.png: this is a PNG picture, not a .lat file"),
        (["info", "sub"], 1, "there are no .lat files in the folder sub, but 1 picture"),
        (["compress", "good.lat"], 1, "pylatent: good.lat: this is a .lat file already: `pylatent decompress` makes"),
        (["compress", "a.png", "--refine-method", "ssl"], 2, "--refine-method is for refinement: give the steps"),
        (["compress", "a.png", "--refine-lambda", "1"], 2, "--refine-lambda is for refinement"),
        (["compress", "a.png", "--strict"], 2, "--strict is for --target-bpp and --target-psnr"),
        (["compress", "a.png", "--force", "--skip-existing"], 2, "contradict each other"),
        (["compress", "a.png", "--jobs", "2", "--device", "cuda"], 2, "--jobs is for the CPU"),
        (["compress", "a.png", "--jobs", "2", "--threads", "2"], 2, "leave --threads out"),
        (["compress", "a.png", "--max-pixels", "599"], 1, "pylatent: a.png: 600 pixels are more than the limit of 599"),
        (["compress", "a.png", "-o", "sub/notes.txt/"], 2, "a name that ends in a slash, but"),
        (["compress", "-", "-o", "sub"], 2, "what comes from standard input has no name"),
        (["decompress", "good.lat", "--model", "nix"], 1, "pylatent: no model nix"),
        (["decompress", "good.lat", "--model", "fixed-1"], 1, "good.lat: the file was written by model fake-1 with"),
        (["decompress", "good.lat", "-o", "x.png", "--format", "jpg"], 2, "name different formats"),
        (["decompress", "good.lat", "--format", "xyz"], 1, "names no picture format"),
    ],
)
def test_failures_say_one_line_and_leave_nothing(folder, capsys, arguments, code, message):
    (folder / "empty").mkdir()
    assert run("compress", "a.png", "-o", "good.lat") == 0
    good = LatFile.read("good.lat")
    LatFile("other-1", bytes(8), good.stream).write("other.lat")
    (folder / "cut.lat").write_bytes((folder / "good.lat").read_bytes()[:60])
    before = files(folder)
    capsys.readouterr()
    assert run(*arguments) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("pylatent: ")
    assert said.count("\n") == 1
    assert files(folder) == before


def test_interruption(folder, capsys, monkeypatch):
    def interrupted(self, x, quality=None, *, threads=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeCodec, "compress", interrupted)
    assert run("compress", "a.png", "sub") == 130
    assert capsys.readouterr().err == "pylatent: interrupted\n"
    assert files(folder) == BEFORE


def test_a_defect_is_one_line_too(folder, capsys, monkeypatch):
    def broken(self, x, quality=None, *, threads=None):
        raise RuntimeError("wires crossed")

    monkeypatch.setattr(FakeCodec, "compress", broken)
    assert run("compress", "a.png") == 1
    assert "a.png: unexpected RuntimeError: wires crossed (PYLATENT_TRACEBACK=1" in capsys.readouterr().err
    monkeypatch.setenv("PYLATENT_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="wires"):
        cli.main(["compress", "a.png"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk(folder, capsys):
    assert run("compress", "a.png", "-o", "/dev/full", "--force") == 1
    assert capsys.readouterr().err == "pylatent: /dev/full: No space left on device\n"


def test_a_full_disk_leaves_no_file(folder, capsys, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert run("compress", "a.png") == 1
    assert "No space left on device" in capsys.readouterr().err
    assert files(folder) == BEFORE
