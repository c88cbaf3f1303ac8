"""`pylatent train light` gives a model a light receiver, which --fast uses, and says what it cannot use."""

import pytest
from PIL import Image
from small_codec import make_codec, make_context, picture

from pylatent import cli, images, zoo


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "home"))
    codec = make_context()
    codec.calibrate([picture(64, 64)])
    zoo.save_codec(codec, tmp_path / "base.safetensors", name="base-1", card={"licence": "none"})
    zoo.save_codec(make_codec(), tmp_path / "other.safetensors", name="other-1", card={})
    (tmp_path / "photos").mkdir()
    for seed in range(2):
        images.write(images.to_image(picture(97, 130, seed=seed)[0]), tmp_path / "photos" / f"{seed}.png")
    return tmp_path


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    return stop.value.code or 0


def test_a_model_gets_one_and_previews_use_it(folder, capsys):
    options = (
        "--model",
        "./base.safetensors",
        "-o",
        "made.safetensors",
        "--steps",
        "2",
        "--crop",
        "4",
        "--widths",
        "5,4",
    )
    assert run("train", "light", "photos", *options, "--validate", "photos") == 0
    said = capsys.readouterr().err
    assert "thousand products a pixel" in said
    assert said.count("dB below the full synthesis") == 4
    made = zoo.load("./made.safetensors")
    assert (made.name, made.fingerprint()) == ("base-1", zoo.load("./base.safetensors").fingerprint())
    header = zoo.read_header("made.safetensors")
    assert (header.card["licence"], header.card["light receiver"]["steps"]) == ("none", 2)

    assert run("models", "add", "made.safetensors") == 0
    assert run("compress", "photos/0.png", "-o", "a.lat", "--model", "base-1") == 0
    assert run("decompress", "a.lat", "-o", "full.png") == 0
    assert run("decompress", "a.lat", "-o", "fast.png", "--receiver", "light") == 0
    assert run("archive", "create", "a", "photos", "--model", "base-1") == 0
    assert run("archive", "extract", "a", "--format", "png", "-o", "full") == 0
    assert run("archive", "extract", "a", "--format", "png", "-o", "fast", "--fast") == 0
    full, fast, of_archive, fast_of_archive = (
        Image.open(name) for name in ("full.png", "fast.png", "full/0.png", "fast/0.png")
    )
    assert full.size == fast.size == (130, 97)
    assert full.tobytes() == of_archive.tobytes() != fast.tobytes() == fast_of_archive.tobytes()


def test_models_without_one_say_so(folder, capsys):
    assert run("compress", "photos/0.png", "-o", "a.lat", "--model", "./base.safetensors") == 0
    assert run("decompress", "a.lat", "-o", "b.png", "--fast", "--model", "./base.safetensors") == 1
    assert "model base-1 has no light receiver" in capsys.readouterr().err
    assert run("models", "add", "base.safetensors") == 0
    assert run("archive", "create", "a", "photos", "--model", "base-1") == 0
    assert run("archive", "extract", "a", "--format", "png", "-o", "out", "--fast") == 1
    assert "has no light receiver" in capsys.readouterr().err
    assert not (folder / "out").exists()
    assert run("archive", "extract", "a", "--fast") == 2
    assert "--fast is for pictures" in capsys.readouterr().err
    assert run("archive", "extract", "a", "--receiver", "perceptual") == 2
    assert "--receiver is for pictures" in capsys.readouterr().err
    assert run("decompress", "a.lat", "--receiver", "perceptual", "--model", "./base.safetensors") == 1
    assert (
        "has no perceptual receiver: take the full one, or train one with `pylatent train perceptual"
        in capsys.readouterr().err
    )
    assert run("decompress", "a.lat", "--receiver", "slow") == 2
    assert "--receiver must be full, light or perceptual, got slow" in capsys.readouterr().err
    assert run("decompress", "a.lat", "--receiver", "full", "--fast") == 2
    assert "--fast means --receiver light, and --receiver says full" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "./other.safetensors"), "must be a residual hyperprior whose pixels are defined in integers"),
        (("--model", "./base.safetensors", "--crop", "30"), "no picture below"),
        (
            ("--model", "./base.safetensors", "--crop", "4"),
            "at most 6 at 1/4 of the sides, as the full synthesis, got 44",
        ),
        (("--model", "./base.safetensors", "--widths", "4"), "--widths must be 2 whole numbers"),
        (("--model", "./missing.safetensors"), "missing.safetensors"),
    ],
)
def test_what_cannot_be_used(folder, capsys, options, message):
    assert run("train", "light", "photos", *options) in (1, 2)
    assert message in capsys.readouterr().err
