"""compress --refine with the default model: smaller files, targets, a time budget, and Ctrl-C half way."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from PIL import Image

from pylatent import cli, decompress
from pylatent.coding.container import LatFile
from pylatent.refine import sga

PICTURE = Path(__file__).parents[1] / "data" / "pictures" / "rgb_96x64.png"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(PICTURE, "a.png")
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    return caught.value.code or 0


def test_refine(folder, capsys):
    assert run("compress", "a.png", "-q", "3", "-o", "plain.lat") == 0
    assert run("compress", "a.png", "-q", "3", "--refine", "30", "-o", "refined.lat") == 0
    assert os.path.getsize("refined.lat") < os.path.getsize("plain.lat")
    assert LatFile.read("refined.lat").stream.quality == 3
    assert decompress("refined.lat").size == Image.open("a.png").size
    assert "a.png -> refined.lat" in capsys.readouterr().err


def test_time_budget_alone(folder):
    started = time.monotonic()
    assert run("compress", "a.png", "--time-budget", "0.5", "--refine-method", "atanh") == 0
    assert time.monotonic() - started < 60
    assert decompress("a.lat")


def test_another_lambda(folder):
    sizes = []
    for lam in ("0.001", "0.2"):
        assert run("compress", "a.png", "-o", f"{lam}.lat", "--refine", "30", "--refine-lambda", lam, "-q", "3") == 0
        sizes.append(os.path.getsize(f"{lam}.lat"))
    assert sizes[0] < sizes[1]


@pytest.mark.filterwarnings("default::pylatent.errors.PylatentWarning")
@pytest.mark.parametrize("part", [0.95, 2.4])
def test_target(folder, part):
    """The first is below what quality 1 gives without refinement."""
    assert run("compress", "a.png", "-q", "1", "-o", "lowest.lat") == 0
    target = part * os.path.getsize("lowest.lat") * 8 / (96 * 64)
    assert run("compress", "a.png", "--target-bpp", str(target), "--refine", "40") == 0
    bpp = 8 * os.path.getsize("a.lat") / (96 * 64)
    assert 0.9 * target < bpp <= target


def test_ctrl_c_keeps_the_best(folder, capsys, monkeypatch):
    shutil.copy("a.png", "b.png")
    advance = sga._Run.advance

    def interrupted(refinement):
        advance(refinement)
        if refinement.step == 5:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(sga._Run, "advance", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert run("compress", "a.png", "b.png", "--refine", "1000000", "-q", "2") == 130
    errors = capsys.readouterr().err
    assert "stopping: the best latents so far will be written" in errors
    assert "a.png -> a.lat" in errors
    assert decompress("a.lat").size == Image.open("a.png").size
    assert not Path("b.lat").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_twice_gives_up(folder, monkeypatch):
    def interrupted(refinement):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(sga._Run, "advance", interrupted)
    assert run("compress", "a.png", "--refine", "100") == 130
    assert os.listdir() == ["a.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--refine", "5", "--refine-method", "tanh"], "--refine-method must be one of ssl, atanh, linear"),
        (["--time-budget", "0"], "--time-budget must be above 0"),
        (["--refine", "5", "--refine-lambda", "-1"], "--refine-lambda must be above 0"),
    ],
)
def test_wrong_options(folder, capsys, options, message):
    assert run("compress", "a.png", *options) == 2
    assert message in capsys.readouterr().err
    assert sorted(os.listdir()) == ["a.png"]
