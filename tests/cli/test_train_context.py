"""`pylatent train context` makes a model of a trained one, and says what it cannot use."""

import pytest
import torch
from small_codec import make_codec, make_residual, picture

from pylatent import cli, images, zoo
from pylatent.train import context


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(context, "_PRIOR_STEPS", 5)
    zoo.save_codec(make_residual(), tmp_path / "base.safetensors", name="base-1", card={})
    zoo.save_codec(make_codec(), tmp_path / "other.safetensors", name="other-1", card={})
    (tmp_path / "photos").mkdir()
    for seed in range(2):
        images.write(images.to_image(picture(97, 130, seed=seed)[0]), tmp_path / "photos" / f"{seed}.png")
    return tmp_path


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "context", "photos", *arguments])
    return stop.value.code or 0


def test_a_model_is_written_that_codes(folder, capsys):
    options = ("--model", "./base.safetensors", "-o", "made.safetensors", "--name", "made-1", "--bands", "3")
    assert run(*options, "--steps", "3", "--crop", "4") == 0
    assert "trained for 3 steps" in capsys.readouterr().err
    codec = zoo.load("./made.safetensors")
    assert (codec.name, type(codec).__name__, codec.defines_pixels) == ("made-1", "ContextHyperprior", True)
    with torch.no_grad():
        assert codec.decompress(codec.compress(picture(40, 56), 2)).shape == (1, 3, 40, 56)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "./other.safetensors"), "must be a ResidualHyperprior of several qualities"),
        (("--model", "./base.safetensors", "--bands", "4"), "--bands must be at most 3"),
        (("--model", "./base.safetensors", "--bands", "1", "--crop", "30"), "no picture below"),
        (("--model", "./missing.safetensors"), "missing.safetensors"),
        ((), "--model"),
    ],
)
def test_what_cannot_be_used(folder, capsys, options, message):
    assert run(*options) in (1, 2)
    assert message in capsys.readouterr().err
