"""README.md: its tables are those of the committed results, its links lead somewhere, and its examples run."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import tables
import torch

from pylatent import cli, zoo
from pylatent.codecs import MeanScaleHyperprior

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with photo.png and photos/, and a small default model where none is shipped."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "models"))
    if not any(model.name == zoo.resolve("default") for model in zoo.models()):
        torch.manual_seed(1)
        codec = MeanScaleHyperprior(6, 8, gains=8).eval()
        codec.update()
        (tmp_path / "models").mkdir()
        name = zoo.resolve("default")
        zoo.save_codec(codec, tmp_path / "models" / f"{name}.safetensors", name=name, card={})
    picture = ROOT / "tests" / "data" / "pictures" / "rgb_96x64.png"
    (tmp_path / "photos").mkdir()
    shutil.copy(picture, tmp_path / "photo.png")
    shutil.copy(picture, tmp_path / "photos" / "one.png")
    return tmp_path


def test_tables_are_in_step_with_the_results():
    for page in tables.PAGES:
        text = page.read_text(encoding="utf-8")
        assert tables.with_tables(page, text) == text, f"{page.name}: run `python tools/tables.py`"


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert targets
    assert not missing


def test_python_examples(folder):
    first, second = code("python")
    names = {"x": torch.rand(2, 3, 33, 50)}
    exec(first, names)
    assert names["image"].size == (96, 64)
    with torch.no_grad():
        exec(second, names)
    assert names["x_hat"].shape == names["x"].shape


# What rate a picture this small reaches depends on the model; that it is out of reach is a warning, not a failure.
@pytest.mark.filterwarnings("default::pylatent.PylatentWarning")
def test_commands(folder):
    lines = [line for block in code("sh") for line in block.splitlines() if line.startswith("pylatent ")]
    assert len(lines) >= 6
    for line in lines:
        with pytest.raises(SystemExit) as caught:
            cli.main(shlex.split(line, comments=True)[1:])
        assert not caught.value.code, line
    made = {path.name for path in folder.iterdir()}
    assert {"photo.lat", "decoded.png", "small.lat", "report.html", "rd.png"} <= made
