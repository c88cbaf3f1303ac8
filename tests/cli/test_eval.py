"""The verb eval, with a small codec of random weights: what it prints, writes and refuses."""

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from small_networks import small_networks

from pylatent import cli, zoo
from pylatent.codecs import MeanScaleHyperprior

PICTURES = Path(__file__).parents[1] / "data" / "pictures"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with tiny.safetensors (qualities 1 to 3) and fixed.safetensors."""
    folder = tmp_path_factory.mktemp("models")
    for name, gains in (("tiny", 3), ("fixed", 0)):
        torch.manual_seed(1)
        codec = MeanScaleHyperprior(6, 8, gains=gains).eval()
        codec.update()
        zoo.save_codec(codec, folder / f"{name}.safetensors", name=f"{name}-1", card={})
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with two pictures in photos/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("rgb_17x31.png", "grey_96x64.png"):
        shutil.copy(PICTURES / name, tmp_path / "photos" / name)
    return tmp_path


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(["eval", *map(str, arguments)])
    return caught.value.code or 0


def test_a_folder(folder, models, capsys):
    assert run("photos", "-m", models / "tiny.safetensors", "--json", "out.json", "--repeats", 2) == 0
    shown = capsys.readouterr()
    assert "grey_96x64.png: " in shown.err  # converted to RGB, and said so
    for text in ("rgb_17x31.png", "Mean of 2 pictures", "MP/s", "bugs", "BD-rate", "JPEG (Pillow, 4:2:0"):
        assert text in shown.out
    report = json.loads(Path("out.json").read_text())
    assert [picture["name"] for picture in report["pictures"]] == ["grey_96x64.png", "rgb_17x31.png"]
    assert [point["quality"] for point in report["mean"]["codec"]] == [1, 2, 3]
    assert all(point["exact"] for picture in report["pictures"] for point in picture["codec"])


def test_json_on_standard_output_is_alone_there(folder, models, capsys):
    model = models / "tiny.safetensors"
    assert run("photos/rgb_17x31.png", "-m", model, "-q", 2.5, "-q", 1, "--no-baselines", "--json", "-") == 0
    shown = capsys.readouterr()
    assert [point["quality"] for point in json.loads(shown.out)["mean"]["codec"]] == [1, 2.5]
    assert "Mean of 1 picture " in shown.err
    assert "BD-rate" not in shown.err


def test_receivers_and_refinement(folder, capsys):
    """The default model has all three; a refined file is one more way."""
    receivers = ("--receiver", "full", "--receiver", "perceptual")
    options = ("-q", 1, "-q", 3, "--refine", 1, "--json", "out.json", "--html", "page.html")
    assert run("photos/rgb_17x31.png", *receivers, *options) == 0
    shown = " ".join(capsys.readouterr().out.split())
    names = [f"default-2, {way}" for way in ("full", "perceptual", "full, refined", "perceptual, refined")]
    page = Path("page.html").read_text(encoding="utf-8")
    for name in names:
        assert f"Mean of 1 picture: {name} " in shown
        assert f"<h2>Means: {name}</h2>" in page
    report = json.loads(Path("out.json").read_text())
    assert list(report["mean"]) == ["codec", "perceptual", "refined", "perceptual refined", "JPEG", "WebP"]
    assert list(report["perceptual_refined_bd_rate_percent"]) == ["unrefined", "JPEG", "WebP"]
    for full, perceptual in (("codec", "perceptual"), ("refined", "perceptual refined")):
        for one, other in zip(report["mean"][full], report["mean"][perceptual], strict=True):
            assert one["nbytes"] == other["nbytes"]
            assert one["psnr"] != other["psnr"]
            assert one["exact"] is other["exact"] is True


def test_receivers_that_are_not_there(folder, models, capsys):
    options = ("photos/rgb_17x31.png", "-m", models / "tiny.safetensors", "-q", 1)
    assert run(*options, "--receiver", "full", "--receiver", "perceptual") == 1
    assert "model tiny-1 has no perceptual receiver: take the full one, or train one" in capsys.readouterr().err
    assert run(*options, "--receiver", "sharp") == 2
    assert "--receiver must be full, light or perceptual, got sharp" in " ".join(capsys.readouterr().err.split())


def test_fixed_rate(folder, models, capsys):
    model = models / "fixed.safetensors"
    assert run("photos/rgb_17x31.png", "-m", model) == 0
    assert "BD-rate" not in capsys.readouterr().out  # one point makes no curve
    assert run("photos/rgb_17x31.png", "-m", model, "-q", 3) == 2
    assert "one fixed rate" in capsys.readouterr().err


def test_plot(folder, models):
    pytest.importorskip("matplotlib")
    assert run("photos", "-m", models / "tiny.safetensors", "-q", 1, "-q", 3, "--plot", "rd.png") == 0
    with Image.open("rd.png") as image:
        assert image.format == "PNG"


def test_html(folder, models):
    assert run("photos", "-m", models / "tiny.safetensors", "-q", 1, "-q", 3, "--html", "report.html") == 0
    page = Path("report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert page.count('src="data:image/jpeg;base64,') == page.count("<details>") == 2
    for text in ("tiny-1", "2 pictures", "rgb_17x31.png", "WebP (Pillow, 4:2:0", "BD-rate"):
        assert text in page
    assert page.count("<svg") == page.count("</svg>") > 3


def test_metrics(folder, models, capsys, monkeypatch):
    small_networks(folder)
    monkeypatch.setenv("PYLATENT_LPIPS", str(folder))
    metrics = [part for name in ("lpips-vgg", "lpips-alex", "fid", "kid") for part in ("--metric", name)]
    options = ["--patch", "32", "--json", "out.json", "--html", "page.html"]
    assert run("photos", "-m", models / "tiny.safetensors", "-q", 1, "-q", 3, *metrics, *options) == 0
    shown = " ".join(capsys.readouterr().out.split())
    used = ("LPIPS VGG16: LPIPS 0.1 with VGG16's features", "KID: 8 patches of 32x32, VGG16's relu5_3")
    for text in ("How alike pictures look", *used):
        assert text in shown
    report = json.loads(Path("out.json").read_text())
    assert list(report["metrics"]) == ["LPIPS VGG16", "LPIPS AlexNet", "FID", "KID"]
    assert all(isinstance(value, float) for value in report["mean"]["WebP"][0]["more"].values())
    large, small = report["pictures"]
    assert large["codec"][0]["more"]["LPIPS VGG16"] > 0
    assert small["codec"][0]["more"]["LPIPS AlexNet"] is None  # 17 pixels are less than the network takes
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.count("<th class=n>LPIPS VGG16</th>") == 3
    assert page.count("<th class=n>FID</th>") == 1  # of the means


def test_metrics_without_weights(folder, models, capsys, monkeypatch):
    monkeypatch.delenv("PYLATENT_LPIPS", raising=False)
    monkeypatch.setattr("pylatent.evaluation.lpips.find_spec", lambda name: None)
    assert run("photos", "-m", models / "tiny.safetensors", "-q", 1, "--metric", "lpips-vgg") == 1
    shown = " ".join(capsys.readouterr().err.split())
    assert "LPIPS needs the features of vgg16 and linear heads: pip install 'pylatent[perceptual]'" in shown


def test_a_mismatch_fails_the_command(folder, models, monkeypatch, capsys):
    monkeypatch.setattr("pylatent.evaluation.measure.same_latents", lambda a, b: False)
    assert run("photos/rgb_17x31.png", "-m", models / "tiny.safetensors", "-q", 1, "--no-baselines") == 1
    assert "1 file did not decode to what was encoded" in capsys.readouterr().err


def test_a_damaged_picture_is_reported_and_left_out(folder, models, capsys):
    data = (folder / "photos/rgb_17x31.png").read_bytes()
    (folder / "photos/damaged.png").write_bytes(data[:200])
    options = ("-m", models / "tiny.safetensors", "-q", 1, "--no-baselines")
    assert run("photos", *options, "--json", "out.json") == 1
    shown = capsys.readouterr()
    assert "pylatent: photos/damaged.png: damaged picture: " in shown.err
    assert "Mean of 2 pictures" in shown.out
    assert len(json.loads(Path("out.json").read_text())["pictures"]) == 2
    assert run("photos/damaged.png", *options) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "pylatent: there is no picture that could be measured"


def test_standard_input(folder, models, capsys, monkeypatch):
    pipe = io.TextIOWrapper(io.BytesIO((folder / "photos/rgb_17x31.png").read_bytes()))
    monkeypatch.setattr(sys, "stdin", pipe)
    assert run("-", "-m", models / "tiny.safetensors", "-q", 1, "--no-baselines") == 0
    assert "Mean of 1 picture " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["photos", "-q", 9], 2, "the quality must be from 1 to 3 for tiny-1, got 9"),
        (["missing.png"], 1, "missing.png: No such file or directory"),
        (["empty"], 1, "there are no pictures in the folder empty"),
        (["photos", "-q", 1, "--no-baselines", "--json", "no/such/folder.json"], 2, "there is no folder no/such"),
        (["photos", "--json", "photos"], 2, "--json photos: this is a folder"),
        (["photos", "--html", "no/such.html"], 2, "--html no/such.html: there is no folder no"),
        (["photos", "--plot", "p.foo"], 2, "--plot must end in .png, .svg or .pdf, got p.foo"),
        (["photos", "--metric", "vmaf"], 2, "--metric must be lpips-vgg, lpips-alex, fid or kid, got vmaf"),
        (["photos", "-q", 1, "--metric", "fid", "--features", "a.pt"], 1, "there is no file a.pt"),
        (["photos", "--refine-method", "ssl"], 2, "--refine-method is for refinement"),
        (["photos/rgb_17x31.png", "--max-pixels", "526"], 1, "527 pixels are more than the limit of 526"),
    ],
    ids=[
        "quality",
        "missing",
        "empty",
        "unwritable",
        "folder",
        "html",
        "plot",
        "metric",
        "features",
        "refinement",
        "pixels",
    ],
)
def test_failures_are_one_line(folder, models, capsys, arguments, code, message):
    (folder / "empty").mkdir()
    assert run(*arguments, "-m", models / "tiny.safetensors") == code
    # Wrong usage is framed and wrapped by typer.
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in shown
    assert "Traceback" not in shown
