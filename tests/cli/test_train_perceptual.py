"""`pylatent train perceptual` makes a model of a trained one, resumes, and says what it cannot use."""

import json

import pytest
import torch
from safetensors.torch import save_file
from small_codec import make_codec, make_residual, picture
from small_networks import weights

pytest.importorskip("lightning_fabric", reason="training needs lightning-fabric (extra `train`)")

from pylatent import cli, images, zoo


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYLATENT_LPIPS", raising=False)
    zoo.save_codec(make_residual(), tmp_path / "base.safetensors", name="base-1", card={})
    zoo.save_codec(make_codec(gains=0), tmp_path / "fixed.safetensors", name="fixed-1", card={})
    (tmp_path / "photos").mkdir()
    for seed in range(2):
        images.write(images.to_image(picture(256, 272, seed=seed)[0]), tmp_path / "photos" / f"{seed}.png")
    (tmp_path / "lpips").mkdir()
    features, heads = weights("vgg")
    save_file(features, tmp_path / "lpips" / "vgg16.safetensors")
    save_file(heads, tmp_path / "lpips" / "vgg.safetensors")
    (tmp_path / "empty").mkdir()
    return tmp_path


def command(*arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    return stop.value.code or 0


def run(*arguments):
    options = ("--crop", "64", "--batch", "1", "--precision", "32-true", "--qualities", "1,3", "-o", "run")
    return command("train", "perceptual", "photos", *options, *arguments)


def test_a_receiver_is_written_for_the_same_files_and_goes_on(folder, capsys):
    options = ("--model", "./base.safetensors", "--lpips", "lpips", "--name", "made-1", "--receiver-only")
    options += ("--validate", "photos")
    assert run(*options, "--steps", "2") == 0
    assert run(*options, "--steps", "4") == 0
    said = capsys.readouterr().err
    assert "made-1.safetensors: trained for 2 steps" in said
    assert "made-1.safetensors: trained for 4 steps" in said
    lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert {"quality", "bpp", "psnr", "lpips vgg"} == lines[0]["validation"][0].keys()
    base, made = zoo.load("./base.safetensors"), zoo.load("./run/made-1.safetensors")
    assert (made.name, made.lambdas) == ("made-1", base.lambdas)
    x = picture(40, 56)
    stream = base.compress(x, 2)
    assert made.compress(x, 2) == stream
    assert not torch.equal(made.decompress(stream), base.decompress(stream))


def test_a_model_whose_pixels_are_integers_gets_a_receiver(folder, capsys):
    codec = make_residual()
    codec.calibrate([picture(64, 64)])
    header = zoo.save_codec(codec, folder / "whole.safetensors", name="whole-1", card={"licence": "none"})
    options = ("--model", "./whole.safetensors", "--lpips", "lpips", "--receiver-only", "--steps", "1")
    assert run(*options, "--name", "made-1") == 2
    assert "with --receiver-only whole-1 gets a receiver" in capsys.readouterr().err
    assert run(*options) == 0
    made = zoo.read_header("run/whole-1.safetensors")
    assert (made.name, made.hash, made.card["licence"]) == ("whole-1", header.hash, "none")
    assert made.card["perceptual receiver"]["steps"] == 1
    assert command("compress", "photos/0.png", "-o", "a.lat", "--model", "./whole.safetensors") == 0
    shown = {}
    for receiver in ("full", "perceptual"):
        options = ("--model", "./run/whole-1.safetensors", "--receiver", receiver, "-o", f"{receiver}.png")
        assert command("decompress", "a.lat", *options) == 0
        shown[receiver] = images.read(folder / f"{receiver}.png").tensor
    assert shown["full"].shape == shown["perceptual"].shape == (3, 256, 272)
    assert not torch.equal(shown["full"], shown["perceptual"])


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--model", "./fixed.safetensors"), 2, "must be one of several qualities"),
        (("--model", "./base.safetensors"), 1, "pip install 'pylatent[perceptual]'"),
        (("--model", "./base.safetensors", "--lpips", "empty"), 1, "empty must hold, as .safetensors or .pth, one vgg"),
        (("--model", "./base.safetensors", "--lpips", "lpips", "--rates", "1"), 2, "`rates` must be 2"),
        (("--model", "./base.safetensors", "--lpips", "lpips", "--crop", "320"), 1, "at least 320 pixels"),
        (("--model", "./missing.safetensors"), 1, "missing.safetensors"),
    ],
)
def test_what_cannot_be_used(folder, capsys, monkeypatch, options, code, message):
    monkeypatch.setattr("pylatent.evaluation.lpips.find_spec", lambda name: None)
    assert run(*options) == code
    assert message in capsys.readouterr().err
