"""Training of a conditional codec: the codec below stays, then takes part; validation chooses; the command."""

import pytest
import torch
from small_codec import make_residual, picture
from small_dictionary import make_clc, make_dictionary

from pylatent import cli, images
from pylatent.codecs import CLC
from pylatent.codecs.model_file import load_codec, save_codec
from pylatent.train import clc as training
from pylatent.train.clc import ClcRecipe, train_clc, validation_loss


def pictures(count=3):
    return [(255 * picture(64, 80, seed=seed)[0]).round().to(torch.uint8) for seed in range(count)]


def test_the_codec_below_stays_and_the_loss_falls():
    codec, recipe = make_clc(), ClcRecipe(60, crop=32, batch=3, learning_rate=3e-3)
    base = {name: value.clone() for name, value in codec.base.float_state().items()}
    before, fingerprint = validation_loss(codec, pictures()), codec.base.fingerprint()
    train_clc(codec, pictures(), recipe)
    assert validation_loss(codec, pictures()) < before - 0.005
    assert all(torch.equal(value, base[name]) for name, value in codec.base.float_state().items())
    assert codec.base.fingerprint() == fingerprint
    x = picture(40, 40)
    streams = codec.compress(x)
    torch.testing.assert_close(codec.decompress(streams), codec.synthesize(codec.as_coded(codec.analyze(x))).detach())


def test_all_weights_take_part_in_the_end():
    codec = make_clc()
    base = codec.base.g_a[-1].weight.clone()
    train_clc(codec, pictures(), ClcRecipe(1, 3, crop=32, batch=2, learning_rate=1e-2))
    assert not torch.equal(codec.base.g_a[-1].weight, base)
    assert codec.is_ready
    x = picture(40, 40)
    assert torch.equal(codec.decode(codec.compress(x)).y, codec.as_coded(codec.analyze(x)).y)


def test_validation_chooses(monkeypatch):
    codec, losses = make_clc(), iter([3.0, 1.0, 2.0])
    kept = []

    def loss(codec, pictures):
        kept.append(codec.blend.weights[-1].bias.detach().clone())
        return next(losses)

    monkeypatch.setattr(training, "validation_loss", loss)
    train_clc(codec, pictures(), ClcRecipe(6, crop=32, batch=2, learning_rate=1e-2), validation=pictures(1), every=2)
    assert len(kept) == 3
    assert torch.equal(codec.blend.weights[-1].bias, kept[1])
    assert codec.is_ready


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYLATENT_HOME", str(tmp_path / "home"))
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, pixels in enumerate(pictures()):
        images.write(images.to_image(pixels), photos / f"{number}.png")
    save_codec(make_residual(), tmp_path / "base.safetensors", name="base-1", card={})
    base = load_codec(tmp_path / "base.safetensors")
    make_dictionary(base).save(tmp_path / "tiny-1.dictionary")
    out = tmp_path / "runs" / "clc.safetensors"
    out.parent.mkdir()

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main([*map(str, arguments)])
        return end.value.code, capsys.readouterr().err

    given = (
        "train",
        "clc",
        photos,
        "--model",
        tmp_path / "base.safetensors",
        "--dictionary",
        tmp_path / "tiny-1.dictionary",
    )
    options = ("--steps", 2, "--crop", 32, "--batch", 2, "--references", 2, "-o", out, "--name", "clc-1")
    code, said = run(*given, *options)
    assert (code, "trained for 2 steps" in said) == (0, True)
    codec = load_codec(out)
    assert isinstance(codec, CLC)
    assert codec.lambdas == base.lambdas
    assert codec.config["inner"] == 8
    code, said = run("models", "add", out)
    assert code == 0
    source, lat, back = photos / "0.png", tmp_path / "a.lat", tmp_path / "a.png"
    assert run("compress", source, "-o", lat, "--model", "clc-1", "--quality", 2)[0] == 0
    assert run("decompress", lat, "-o", back)[0] == 0
    assert images.read(back).tensor.shape == (3, 64, 80)
    assert run(*given, *options[:-4], "--published", "-o", out, "--name", "clc-2")[0] == 0
    assert [load_codec(out).config[name] for name in ("width", "inner", "hidden")] == [256, 12, 128]
    code, said = run(*given, *options[:-4], "-o", out, "--references", 9)
    assert (code, "`references` must be from 1 to 5, the entries, got 9" in said) == (2, True)
