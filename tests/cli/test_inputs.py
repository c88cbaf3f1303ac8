"""What becomes of every file of a command line: done, skipped with a reason, or failed, and the exit code says so."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from test_compress_decompress import BEFORE, files, folder, pipe, run  # noqa: F401

from pylatent.coding.container import LatFile

links = pytest.mark.skipif(sys.platform == "win32", reason="symbolic links")


@pytest.mark.parametrize("name", ["a.png", "./a.png", "sub/../a.png"])
def test_an_input_is_never_replaced(folder, capsys, name):  # noqa: F811
    data = (folder / "a.png").read_bytes()
    assert run("compress", "a.png", "-o", name, "--force") == 1
    assert f"the output {Path(name)} would replace the input itself: name another with -o" in capsys.readouterr().err
    assert (folder / "a.png").read_bytes() == data


@links
def test_an_input_is_known_by_any_name(folder, capsys):  # noqa: F811
    os.link("a.png", "hard.png")
    os.symlink("a.png", "soft.png")
    before = (folder / "a.png").read_bytes()
    for name in ("hard.png", "soft.png"):
        assert run("compress", "a.png", "-o", name, "--force") == 1
        assert f"{name} would replace the input itself" in capsys.readouterr().err
    assert (folder / "a.png").read_bytes() == before


def test_another_input_is_not_replaced_either(folder, capsys):  # noqa: F811
    assert run("compress", "a.png", "-o", "one.lat") == 0
    shutil.copy("one.lat", "one.png")  # a .lat file by another name
    assert run("decompress", "one.lat", "one.png", "-o", ".", "--force") == 1
    said = capsys.readouterr().err
    assert "the output one.png would replace the input one.png: name another with -o" in said
    assert LatFile.read("one.png").stream.size == (20, 30)


def test_a_second_run_finishes_what_the_first_left(folder, capsys):  # noqa: F811
    assert run("compress", "sub") == 0
    made = (folder / "sub/b.lat").stat().st_mtime_ns
    capsys.readouterr()
    assert run("compress", ".", "--skip-existing") == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "sub/b.jpg skipped: sub/b.lat exists"
    assert said[1].startswith("a.png -> a.lat")
    assert said[2].startswith("1 of 2 files, ")
    assert said[2].endswith("; 1 skipped")
    assert (folder / "sub/b.lat").stat().st_mtime_ns == made
    assert run("compress", ".", "--skip-existing") == 0
    assert capsys.readouterr().err.splitlines()[-1] == "0 of 2 files; 2 skipped"


def test_two_pictures_of_one_name_in_a_folder(folder, capsys):  # noqa: F811
    """The second of them fails, in a second run, too: it is not there."""
    shutil.copy("sub/b.jpg", "a.jpg")
    for options in ([], ["--skip-existing"]):
        assert run("compress", ".", *options) == 1
        assert "pylatent: a.png: a.lat is made from a.jpg already: give the inputs different" in capsys.readouterr().err
    assert LatFile.read("a.lat").stream.size == (11, 30)


def test_one_file_named_twice_is_done_once(folder, capsys):  # noqa: F811
    assert run("compress", "a.png", ".", "--quiet") == 0
    assert run("compress", "a.png", "./a.png", "--force") == 0
    said = capsys.readouterr().err
    assert "a.png skipped: the same file as a.png" in said
    assert "1 of 2 files, " in said


def test_what_cannot_be_searched_has_failed(folder, capsys, monkeypatch):  # noqa: F811
    """Permissions do not bind the super-user, whom the tests may run as."""
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path) == "sub":
            raise PermissionError(13, "Permission denied", "sub")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert run("compress", ".") == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "pylatent: sub: cannot be searched: Permission denied"
    assert said[-1].endswith("1 failed")
    assert files(folder) == sorted([*BEFORE, "a.lat"])
    assert run("compress", "sub") == 1


def test_a_file_that_cannot_be_read_does_not_stop_the_others(folder, capsys, monkeypatch):  # noqa: F811
    real = open

    def refuse(path, *arguments, **options):
        if str(path) == "sub/b.jpg":
            raise PermissionError(13, "Permission denied", "sub/b.jpg")
        return real(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", refuse)
    assert run("compress", "sub/b.jpg", "none.png", "a.png") == 1
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == ["pylatent: sub/b.jpg: Permission denied", "pylatent: none.png: No such file or directory"]
    assert said[-1].startswith("1 of 3 files, ")
    assert files(folder) == sorted([*BEFORE, "a.lat"])


@links
def test_links_are_followed_but_not_in_circles(folder, capsys, tmp_path_factory):  # noqa: F811
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copy("a.png", elsewhere / "far.png")
    os.symlink(elsewhere, "sub/linked")
    os.symlink(folder, "sub/back")
    os.symlink("nowhere.png", "broken.png")
    assert run("compress", ".") == 1
    said = capsys.readouterr().err
    assert "sub/back skipped: a link back to " in said
    assert "pylatent: broken.png: No such file or directory" in said
    assert (elsewhere / "far.lat").exists()
    assert "3 of 5 files, " in said


@pytest.mark.parametrize(
    ("options", "made"),
    [
        (["a.png", "-o", "new/"], ["new/a.lat"]),
        (["a.png", "-o", "new/deep"], ["new/deep"]),
    ],
)
def test_a_slash_makes_it_a_folder(folder, options, made):  # noqa: F811
    assert run("compress", *options) == 0
    assert files(folder) == sorted([*BEFORE, *made])


def test_formats_of_names_without_extension(folder):  # noqa: F811
    assert run("compress", "a.png", "-o", "x.lat") == 0
    assert run("decompress", "x.lat", "-o", "bare") == 0
    assert (folder / "bare").read_bytes().startswith(b"\x89PNG")
    assert run("decompress", "x.lat", "-o", "bare", "--format", "bmp", "--force") == 0
    assert (folder / "bare").read_bytes().startswith(b"BM")
    assert run("decompress", "x.lat", "-o", "new/", "--format", "jpg") == 0
    assert (folder / "new/x.jpg").read_bytes().startswith(b"\xff\xd8")
    assert run("decompress", "x.lat", "-o", "y.jpeg", "--format", "jpg") == 0


def test_decompress_with_a_given_model(folder, capsys):  # noqa: F811
    assert run("compress", "a.png") == 0
    assert run("decompress", "a.lat", "-o", "x.png", "--model", "fake-1") == 0
    assert run("decompress", "a.lat", "-o", "y.png", "--model", "fixed-1") == 1
    assert "a.lat: the file was written by model fake-1 with hash " in capsys.readouterr().err


def test_strict_targets(folder, capsys):  # noqa: F811
    assert run("compress", "a.png", "--target-bpp", "0.1", "--strict") == 1
    assert capsys.readouterr().err.startswith("pylatent: a.png: 0.1 bit per pixel is out of reach for this picture")
    assert files(folder) == BEFORE
    assert run("compress", "a.png", "--target-bpp", "1000", "--target-psnr", "20", "--strict") == 2


def test_out_of_memory_says_what_to_do(folder, capsys, monkeypatch):  # noqa: F811
    from fake_codec import FakeCodec

    texts = {
        "[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: can't allocate memory: you tried to allocate "
        "4096000000 bytes. Error code 12": "out of memory when 4.10 GB more were needed: free some, or take smaller",
        "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has": "out of memory when 2.50 GiB more were needed",
    }
    for text, message in texts.items():
        kind = type("OutOfMemoryError", (RuntimeError,), {}) if "CUDA" in text else RuntimeError

        def broken(self, x, quality=None, *, threads=None, kind=kind, text=text):
            raise kind(text)

        monkeypatch.setattr(FakeCodec, "compress", broken)
        assert run("compress", "a.png") == 1
        said = capsys.readouterr().err
        assert f"pylatent: a.png: {message}" in said
        assert "report" not in said
