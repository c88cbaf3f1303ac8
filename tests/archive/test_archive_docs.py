"""docs/archives.md: its commands and its Python run, in their order."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from pylatent import cli, zoo
from pylatent.archive import run
from pylatent.archive.encode import make_shard
from pylatent.archive.plan import read_plan
from pylatent.coding.container import LatFile

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "archives.md").read_text(encoding="utf-8")


def make_shards(folder, numbers, model, workers, advance, max_pixels):
    for number in numbers:
        yield number, make_shard(zoo.shared(model), folder, number, advance=advance)


def test_commands_and_python(tmp_path, monkeypatch, small_model, many_pictures, capfdbinary):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "models"))
    monkeypatch.setattr(run, "make_shards", make_shards)
    Path("models").mkdir()
    shutil.copy(small_model, "models")
    monkeypatch.setitem(zoo.registry.ALIASES, "default", "small-1")
    for number, name in enumerate(["photos/roses/one", "photos/roses/two", "photos/tulips/one", "more/tulips/two"]):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(many_pictures / f"class{number % 3}" / f"{number:02}.png", f"{name}.png")
    commands = re.findall(r"^    (pylatent archive .*)$", TEXT, re.MULTILINE)
    assert len(commands) >= 10
    for command in commands:
        words, _, target = command.partition(" > ")
        with pytest.raises(SystemExit) as caught:
            cli.main(shlex.split(words)[1:])
        assert not caught.value.code, command
        output = capfdbinary.readouterr().out
        if target:
            Path(target).write_bytes(output)
    assert LatFile.read("two.lat").model == "small-1"
    assert Path("out/tulips/one.png").exists()
    assert len(list(Path("rescued").rglob("*.lat"))) == 4
    assert read_plan(Path("flowers")).shards == [3, 1]
    system = pytest.importorskip("fsspec").filesystem("memory")
    system.put("flowers", "/flowers", recursive=True)
    names = {}
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(code, names)
    assert names["record"].label == "roses"
    assert names["failures"] == []
    assert names["batch"].y_hat.shape[0] == len(names["batch"].keys) > 0
