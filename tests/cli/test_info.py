"""info describes a file without its model; the fast verbs do not import torch."""

import json
import subprocess
import sys

import pytest

from pylatent import cli
from pylatent.coding.container import Bitstream, LatFile

FILE = LatFile(
    "nowhere-7", b"\x01\x23\x45\x67\x89\xab\xcd\xef", Bitstream((512, 768), 4.25, (bytes(300), bytes(9000)), 1)
)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    return caught.value.code or 0


def test_text(tmp_path, capsys):
    FILE.write(tmp_path / "a.lat")
    assert run("info", str(tmp_path / "a.lat")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("a.lat: pylatent picture, .lat version 1")
    assert [line.split(maxsplit=1)[0] for line in lines[1:]] == [
        "picture",
        "model",
        "quality",
        "size",
        "part",
        "part",
        "header",
    ]
    assert "768x512 pixels" in lines[1]
    assert "nowhere-7, hash 0123456789abcdef" in lines[2]
    assert lines[3].split() == ["quality", "4.25"]
    assert "0.1901 bit per pixel" in lines[4]
    assert "part 1" in lines[5]
    assert "0.0061 bit per pixel" in lines[5]


def test_json_of_a_folder(tmp_path, capsys):
    FILE.write(tmp_path / "a.lat")
    FILE.write(tmp_path / "b.lat")
    (tmp_path / "c.lat").write_bytes(FILE.to_bytes()[:-1])
    assert run("info", "--json", str(tmp_path)) == 1
    said = capsys.readouterr()
    facts = [json.loads(line) for line in said.out.splitlines()]
    assert [fact["file"] for fact in facts] == [str(tmp_path / "a.lat"), str(tmp_path / "b.lat")]
    assert facts[0]["sections"][0] == {"section": 0, "bytes": 300, "bpp": 8 * 300 / (512 * 768)}
    assert facts[0]["bytes"] == len(FILE.to_bytes()) == 9300 + facts[0]["overhead_bytes"]
    assert "c.lat: byte" in said.err
    assert "truncated" in said.err


@pytest.mark.parametrize(
    "arguments", [["--help"], ["compress", "--help"], ["train", "rd", "--help"], ["eval", "--help"], ["info", "a.lat"]]
)
def test_torch_is_not_imported(tmp_path, arguments):
    FILE.write(tmp_path / "a.lat")
    code = (
        "import sys, pylatent.cli\n"
        f"try: pylatent.cli.main({arguments!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, timeout=60)


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("pylatent 0.")


def test_config(capsys):
    assert run("config") == 0
    text = capsys.readouterr().out
    assert run("config", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert text == "".join(f"{name.replace('_', ' '):<13} {fact}\n" for name, fact in facts.items())
    assert list(facts)[:5] == ["pylatent", "python", "torch", "numpy", "native"]


def test_models(capsys):
    assert run("models", "list", "--json") == 0
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    default = next(each for each in facts if each["name"] == "default-2")
    assert default["shipped"]
    assert default["qualities"] == [1.0, 8.0]
    assert "licence" in default["card"]
