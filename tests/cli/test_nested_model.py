"""A nested model on the command line: added, compressed with, described level by level, refined."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from small_codec import make_nested

from pylatent import cli, zoo
from pylatent.coding.container import LatFile

PICTURE = Path(__file__).parents[1] / "data" / "pictures" / "rgb_96x64.png"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    return caught.value.code or 0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "home"))
    shutil.copy(PICTURE, "a.png")
    card = {"recipe": {"lambdas": [1e-6, 1e-6, 1e-6, 1e-6]}}
    zoo.save_codec(make_nested(4), "nested-1.safetensors", name="nested-1", card=card)
    assert run("models", "add", "nested-1.safetensors") == 0
    return tmp_path


def test_info_shows_the_bits_of_each_section(folder, capsys):
    assert run("compress", "a.png", "--model", "nested-1", "-q", "4") == 0
    assert run("decompress", "a.lat", "-o", "again.png") == 0
    assert Image.open("again.png").size == Image.open("a.png").size
    capsys.readouterr()
    assert run("info", "--json", "a.lat") == 0
    facts = json.loads(capsys.readouterr().out)
    sections = LatFile.read("a.lat").stream.sections
    assert facts["sections"] == [
        {"section": number, "bytes": len(section), "bpp": 8 * len(section) / (96 * 64)}
        for number, section in enumerate(sections)
    ]
    assert run("info", "a.lat") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[1] for line in lines if line[0] == "part"] == ["1", "2", "3", "4"]


def test_refined_files_are_smaller_and_valid(folder):
    assert run("compress", "a.png", "--model", "nested-1", "-q", "4", "-o", "plain.lat") == 0
    assert run("compress", "a.png", "--model", "nested-1", "-q", "4", "--refine", "40", "-o", "refined.lat") == 0
    plain, refined = LatFile.read("plain.lat"), LatFile.read("refined.lat")
    assert sum(map(len, refined.stream.sections)) < sum(map(len, plain.stream.sections))
    assert run("decompress", "refined.lat") == 0
    assert Image.open("refined.png").size == Image.open("a.png").size
