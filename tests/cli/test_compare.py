"""The verb compare: the part of the picture, the page, and what it refuses."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from small_networks import small_networks

from pylatent import cli, zoo
from pylatent.cli.compare import Part
from pylatent.codecs import MeanScaleHyperprior

PICTURES = Path(__file__).parents[1] / "data" / "pictures"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a.png and tiny.safetensors (qualities 1 to 4)."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PICTURES / "rgb_96x64.png", "a.png")
    torch.manual_seed(1)
    codec = MeanScaleHyperprior(6, 8, gains=4).eval()
    codec.update()
    zoo.save_codec(codec, tmp_path / "tiny.safetensors", name="tiny-1", card={})
    return tmp_path


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(["compare", "-m", "tiny.safetensors", *map(str, arguments)])
    return caught.value.code or 0


def held(path):
    return json.loads(re.search(r'id="data">(.*?)</script>', Path(path).read_text(encoding="utf-8"))[1])


def test_a_page(folder, capsys):
    assert run("a.png") == 0
    assert "a.png -> a.html" in capsys.readouterr().err
    data = held("a.html")
    assert (data["width"], data["height"], len(data["rates"])) == (96, 64, 2)  # qualities 1 and 3
    assert [version["name"] for version in data["rates"][0]["versions"]][:3] == [".lat", "JPEG", "WebP"]
    assert run("a.png") == 1
    assert "a.html exists" in capsys.readouterr().err


def test_another_model_and_lpips(folder, capsys, monkeypatch):
    small_networks(folder)
    monkeypatch.setenv("PYLATENT_LPIPS", str(folder))
    torch.manual_seed(2)
    codec = MeanScaleHyperprior(6, 8, gains=2).eval()
    codec.update()
    zoo.save_codec(codec, "other.safetensors", name="other-1", card={})
    assert run("a.png", "--against", "other.safetensors", "--metric", "lpips-vgg", "-q", 2) == 0
    (rate,) = held("a.html")["rates"]
    assert [version["name"] for version in rate["versions"]][:3] == ["tiny-1", "other-1", "JPEG"]
    assert all(re.search(r" dB · LPIPS VGG16 [\d.]+$", version["facts"]) for version in rate["versions"])
    assert run("a.png", "-f", "--against", "tiny.safetensors") == 2
    assert "--against must be another model than --model, both are tiny-1" in capsys.readouterr().err
    assert run("a.png", "-f", "--against", "none.safetensors") == 1


def test_receivers_side_by_side(folder, capsys):
    """The default model's, of one file, beside others of its size."""
    receivers = [part for name in ("full", "perceptual", "light", "full") for part in ("--receiver", name)]
    assert run("a.png", "-m", "default", *receivers, "--against", "tiny.safetensors", "-q", 2) == 0
    (rate,) = held("a.html")["rates"]
    ours = [f"default-2, {receiver}" for receiver in ("full", "perceptual", "light")]
    assert [version["name"] for version in rate["versions"]][:5] == [*ours, "tiny-1", "JPEG"]
    full, perceptual, light, *others = rate["versions"]
    assert len({full["src"], perceptual["src"], light["src"]}) == 3
    sizes = {version["facts"].partition(" · ")[0] for version in (full, perceptual, light)}
    assert len(sizes) == 1
    page = Path("a.html").read_text(encoding="utf-8")
    assert all(f"<td><b>{name}</b></td>" in page for name in ours)
    assert "Receivers show the same file" in page
    assert page.count("<svg") > len(ours) + len(others)
    assert run("a.png", "-m", "default", "-f", "--receiver", "perceptual", "-q", 2) == 0
    assert held("a.html")["rates"][0]["versions"][0] == perceptual | {"name": ".lat, perceptual"}
    assert run("a.png", "-f", "--receiver", "light", "-q", 2) == 1
    assert "model tiny-1 has no light receiver: take the full one, or train one" in capsys.readouterr().err


def test_a_part(folder, capsys):
    assert run("a.png", "--crop", "40x30+5+6", "-q", 2, "-q", 1.5, "-o", "part.html") == 0
    assert "a.png: from 5, 6, 40 × 30 of 96 × 64" in capsys.readouterr().err
    data = held("part.html")
    assert (data["width"], data["height"], len(data["rates"])) == (40, 30, 2)
    assert "from 5, 6, 40 × 30 of 96 × 64" in Path("part.html").read_text(encoding="utf-8")


def test_large_pictures_are_cropped_and_it_is_said():
    large = torch.arange(3 * 2000 * 3000, dtype=torch.int32).view(3, 2000, 3000)
    part, note = Part.parse(None).of(large)
    assert 1_990_000 < part[0].numel() <= 2_000_000
    assert part.shape[2] / part.shape[1] == pytest.approx(1.5, rel=0.01)
    assert note == f"the middle, {part.shape[2]} × {part.shape[1]} of 3000 × 2000"
    assert Part.parse("whole").of(large) == (large, "")
    part, _ = Part.parse("1000x100").of(large)
    assert torch.equal(part, large[:, 950:1050, 1000:2000])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.png", "--crop", "97x10"], 1, "a.png: --crop 97x10 is not inside the picture of 96x64 pixels"),
        (["a.png", "--crop", "90x10+7+0"], 1, "--crop 90x10+7+0 is not inside the picture"),
        (["a.png", "--crop", "0x10"], 2, "--crop must be 1200x800, 1200x800+100+50 or whole, got 0x10"),
        (["a.png", "-q", "9"], 2, "the quality must be from 1 to 4 for tiny-1, got 9"),
        (["a.png", "--metric", "fid"], 2, "--metric must be lpips-vgg or lpips-alex, got fid"),
        (["none.png"], 1, "none.png: No such file or directory"),
        (["tiny.safetensors"], 1, "tiny.safetensors: not a picture in a format that Pillow reads"),
    ],
    ids=["size", "corner", "nothing", "quality", "metric", "missing", "other"],
)
def test_failures_are_one_line(folder, capsys, arguments, code, message):
    assert run(*arguments) == code
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown
    assert not list(folder.glob("*.html"))


def test_a_mismatch_fails_the_command(folder, monkeypatch, capsys):
    monkeypatch.setattr("pylatent.evaluation.measure.same_latents", lambda a, b: False)
    assert run("a.png", "-q", 1) == 1
    assert "a.png: 1 file did not decode to what was encoded" in capsys.readouterr().err
    assert not Path("a.html").exists()
