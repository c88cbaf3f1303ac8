"""Perceptual fine-tuning: lowers LPIPS at equal bits, resumes, stops at what is no number, refuses what cannot be."""

import dataclasses
import json
import math

import pytest
import torch
from small_codec import make_codec, make_context, make_residual, picture
from small_networks import weights

pytest.importorskip("lightning_fabric", reason="training needs lightning-fabric (extra `train`)")

import pylatent
from pylatent import images, zoo
from pylatent.codecs import TinyLIC
from pylatent.errors import DistortionWarning, ModelError
from pylatent.evaluation.lpips import LPIPS
from pylatent.train import perceptual
from pylatent.train.discriminator import Discriminator, judged, share_right
from pylatent.train.perceptual import PerceptualTrainer
from pylatent.train.perceptual_recipe import PerceptualRecipe
from pylatent.train.perceptual_terms import _shifted

RECIPE = PerceptualRecipe(qualities=(1.0, 3.0), crop=64, batch=2, steps=8, alone=0.5, learning_rate=1e-3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(2):
        images.write(images.to_image(picture(80, 96, seed=seed)[0]), folder / f"{seed}.png")
    return folder


def metric():
    return LPIPS("vgg", *weights("vgg"))


def trainer(folder, recipe=RECIPE, codec=None):
    codec = make_residual() if codec is None else codec
    return PerceptualTrainer(codec, metric() if recipe.perception else None, recipe, folder, precision="32-true")


def test_the_discriminator_learns_to_tell_and_sees_the_latents():
    torch.manual_seed(0)
    critic = Discriminator(6, (8, 8, 8, 8))
    y_hat, x = torch.randn(4, 6, 4, 4, requires_grad=True), picture(64, 64, 4)
    x_hat = (x + 0.2 * torch.randn_like(x)).requires_grad_()
    assert critic(y_hat, x).shape == (4, 1, 4, 4)
    critic(y_hat, x_hat).sum().backward()
    assert y_hat.grad is None  # no gradient goes to the latents
    assert float(x_hat.grad.abs().max()) > 0
    assert not torch.equal(critic(y_hat, x), critic(y_hat + 1, x))
    adam = torch.optim.Adam(critic.parameters(), 1e-2)
    right = []
    for _ in range(60):
        real, fake = critic(y_hat, x), critic(y_hat, x_hat)
        right.append(float(share_right(real, fake)))
        loss = judged(real, True) + judged(fake, False)
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert right[0] < 0.8
    assert right[-1] > 0.95


def test_cross_entropy_and_accuracy():
    logits = torch.tensor([2.0, -1.0])
    assert float(judged(logits, True)) == pytest.approx((math.log1p(math.exp(-2)) + math.log1p(math.exp(1))) / 2)
    assert float(judged(logits, False)) == pytest.approx((math.log1p(math.exp(2)) + math.log1p(math.exp(-1))) / 2)
    assert float(share_right(torch.tensor([1.0, -1.0]), torch.tensor([-1.0, -2.0]))) == 0.75


def test_pictures_are_shifted_and_resampled():
    x = picture(64, 72)
    torch.testing.assert_close(_shifted(x, (0, 0, 0, 0)), x)
    cut = _shifted(x, (-8, 0, 0, -4))
    expected = torch.nn.functional.interpolate(x[..., :60, 8:], size=(64, 72), mode="bicubic", align_corners=False)
    torch.testing.assert_close(cut, expected)
    assert _shifted(x, (15, -15, 3, 7)).shape == x.shape


def test_lpips_falls_at_equal_bits(photos, tmp_path, monkeypatch):
    """Of the receiver alone, whose files are those of the start: bits are equal to the last one."""
    monkeypatch.setattr(perceptual, "_WARM_UP", 1)
    recipe = dataclasses.replace(RECIPE, receiver_only=True, adversarial=0.0, steps=100, learning_rate=4e-3)
    codec = make_residual()
    run = trainer(tmp_path / "run", dataclasses.replace(recipe, average=0.9), codec)
    seen = []
    run.run(photos, report=seen.append)
    assert len(seen) == 100
    trained, x, judge = run.averaged(), picture(80, 96), metric()
    assert trained.coding_state().keys() == codec.coding_state().keys()
    streams = codec.compress(x, 1)
    assert trained.compress(x, 1) == streams
    with torch.no_grad():
        before, after = (float(judge(x, each.decompress(streams))) for each in (codec, trained))
    assert after < 0.93 * before, (before, after)
    own = dict(codec.named_parameters())
    changed = {name for name, value in trained.named_parameters() if not torch.equal(value, own[name])}
    assert changed
    assert all(name.startswith(("g_s.", "inverse_gain")) for name in changed)


@pytest.mark.parametrize("make", [make_residual, make_context, make_codec])
def test_codec_and_discriminators_learn_in_turn(photos, tmp_path, make):
    codec = make()
    run = trainer(tmp_path / "run", codec=codec)
    start = {name: value.clone() for name, value in codec.named_parameters()}
    critics = [[p.detach().clone() for p in critic.parameters()] for critic in run.critics]
    told = []
    run.run(photos, every=4, report=told.append)
    assert [each.step for each in told] == [0, 1, 2, 3, 5, 7]
    for before, critic in zip(critics, run.critics, strict=True):
        assert any(not torch.equal(a, b) for a, b in zip(before, critic.parameters(), strict=True))
    trained = run.averaged()
    moved = {
        name.partition(".")[0] for name, value in trained.named_parameters() if not torch.equal(value, start[name])
    }
    assert {"g_a", "g_s", "h_a", "h_s"} <= {name.partition(".")[0] for name in moved}
    assert all(torch.equal(value, start[name]) for name, value in codec.named_parameters())  # stays as it is
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8]
    assert len(lines[1]["discriminator accuracy"]) == len(lines[1]["rates"]) == 2
    trained.update()
    assert trained.decompress(trained.compress(picture(40, 56), 3)).shape == (1, 3, 40, 56)


def test_the_weight_of_the_rate_follows_the_bits_of_the_start(photos, tmp_path):
    run = trainer(tmp_path / "run")
    with torch.no_grad():
        run.codec.gain[0] *= 3  # more bits than the start's at quality 1
    before = run.rates.tolist()
    run.run(photos)
    assert run.excess[0] > 0.005
    assert run.rates[0] > before[0]
    assert run.rate(0).item() == pytest.approx(run.rates[0].item() * math.exp(4 * run.excess[0].item()))
    given = trainer(tmp_path / "other", dataclasses.replace(RECIPE, rates=(0.5, 0.1)))
    given.run(photos)
    assert [given.rate(place).item() for place in (0, 1)] == pytest.approx([0.5, 0.1])


def test_an_integer_synthesis_gets_a_receiver_beside_it(photos, tmp_path):
    codec = make_residual()
    with torch.no_grad():  # gains of decoder and encoder that are not inverse, as after training
        codec.inverse_gain.mul_(16)
        codec.g_s[0].weight.div_(16)
    codec.update()
    codec.calibrate(picture(64, 64, seed=seed) for seed in range(3))
    run = trainer(tmp_path / "run", dataclasses.replace(RECIPE, receiver_only=True), codec)
    run.run(photos)
    path = tmp_path / "made.safetensors"
    zoo.save_codec(run.finished(photos), path, name="small-1", card={})
    finished, x = zoo.load(path), picture(80, 96)
    assert set(finished.receivers) == {"perceptual"}
    streams = [codec.compress(x, quality)[0] for quality in (1, 2.5)]
    assert torch.equal(finished.decompress_bytes(streams), codec.decompress_bytes(streams))
    shown = finished.decompress_bytes(streams, receiver="perceptual").float() / 255
    assert not torch.equal(shown, finished.decompress(streams))
    with torch.no_grad():
        meant = run.averaged().synthesize(codec.decode(streams))
    torch.testing.assert_close(shown, meant, rtol=0, atol=6 / 255)  # weights have 8 bits
    with pytest.warns(DistortionWarning):
        sealed = pylatent.compress(x[0], model=finished, quality=2, verify=True)  # checksum of the full one's pixels
    pylatent.decompress(sealed, model=finished, receiver="perceptual")


def test_an_integer_synthesis_is_made_anew(photos, tmp_path):
    codec = make_residual()
    codec.calibrate(picture(64, 64, seed=seed) for seed in range(3))
    run = trainer(tmp_path / "run", dataclasses.replace(RECIPE, steps=2), codec)
    run.run(photos)
    finished = run.finished(photos)
    assert finished.defines_pixels
    assert not finished.receivers
    latents = finished.as_coded(finished.analyze(picture(80, 96), 1))
    shown = finished.synthesize_bytes(latents).float() / 255
    with torch.no_grad():
        meant = run.averaged().synthesize(latents)
    torch.testing.assert_close(shown, meant, rtol=0, atol=4 / 255)


def test_a_run_that_was_cut_resumes(photos, tmp_path):
    half = trainer(tmp_path / "run", dataclasses.replace(RECIPE, steps=6))
    half.run(photos)
    resumed = trainer(tmp_path / "run")
    assert (resumed.step, resumed.elapsed > 0) == (6, True)
    assert torch.equal(resumed.codec.gain, half.codec.gain)
    for a, b in zip(resumed.critics, half.critics, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    assert torch.equal(resumed.rates, half.rates)
    assert torch.equal(resumed.excess, half.excess)
    told = []
    resumed.run(photos, report=told.append)
    assert resumed.step == 8
    assert [each.step for each in told] == [7]
    with pytest.raises(ModelError, match=r"holds a run with qualities \[1.0, 3.0\], here \[1.0, 2.0\]"):
        trainer(tmp_path / "run", dataclasses.replace(RECIPE, qualities=(1.0, 2.0)))
    with pytest.raises(ModelError, match="holds a run with receiver_only False, here True"):
        trainer(tmp_path / "run", dataclasses.replace(RECIPE, receiver_only=True))
    with pytest.raises(ModelError, match="of another architecture, or of other levels of quality"):
        trainer(tmp_path / "run", codec=make_codec(gains=3))


def test_what_is_no_number_stops_the_run_with_its_step_and_keeps_the_checkpoint(photos, tmp_path):
    run = trainer(tmp_path / "run", dataclasses.replace(RECIPE, steps=100, alone=0.0))

    def spoil(progress):
        if progress.step == 5:
            with torch.no_grad():
                run.codec.g_s[-2].bias[0] = math.nan

    with pytest.raises(ModelError, match="loss of step 6 is not a number; .*checkpoint.pt is the last good one"):
        run.run(photos, every=4, report=spoil)
    resumed = trainer(tmp_path / "run", dataclasses.replace(RECIPE, steps=6))
    assert resumed.step == 4
    assert all(bool(value.isfinite().all()) for value in resumed.codec.state_dict().values())
    resumed.run(photos)


def test_without_perception_it_goes_on_for_mse(photos, tmp_path):
    run = trainer(tmp_path / "run", dataclasses.replace(RECIPE, perception=0.0, adversarial=0.0))
    told = []
    run.run(photos, report=told.append)
    assert [float(each.means[2]) for each in told] == [0.0] * 8


def test_tinylic_learns(tmp_path):
    torch.manual_seed(0)
    codec = TinyLIC(32, 32, gains=2)
    codec.update()
    images.write(images.to_image(picture(192, 200)[0]), tmp_path / "one.png")
    recipe = dataclasses.replace(RECIPE, qualities=(1.0, 2.0), crop=192, batch=1, steps=2, alone=0.0)
    run = trainer(tmp_path / "run", recipe, codec)
    told = []
    run.run(tmp_path, report=told.append)
    assert bool(torch.stack([each.means for each in told]).isfinite().all())
    with pytest.raises(ModelError, match="other levels of quality"):
        trainer(tmp_path / "run", recipe, TinyLIC(32, 32, gains=3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qualities": (1.0, 4.0)}, r"must lie in 1 to 3, got \(1.0, 4.0\)"),
        ({"qualities": ()}, "must lie in 1 to 3"),
        ({"rates": (1.0,)}, "`rates` must be 2, one a quality, got 1"),
        ({"rates": (1.0, 1.0), "receiver_only": True}, "no meaning for the receiver alone"),
        ({"crop": 72}, "must be a multiple of 16"),
        ({"crop": 48}, "at least 64 pixels"),
    ],
)
def test_recipes_that_cannot_be(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path, dataclasses.replace(RECIPE, **changes))


def test_codecs_and_metrics_that_cannot_be(photos, tmp_path):
    with pytest.raises(ValueError, match="must have a variable rate"):
        trainer(tmp_path, codec=make_codec(gains=0))
    with pytest.raises(ValueError, match="at least 192 pixels for TinyLIC, got 128"):
        trainer(tmp_path, dataclasses.replace(RECIPE, crop=128), TinyLIC(32, 32, gains=3))
    with pytest.raises(ValueError, match="where the recipe has a weight of perception"):
        PerceptualTrainer(make_residual(), None, RECIPE, tmp_path)
    with pytest.raises(ValueError, match="must be LPIPS on vgg, got alex"):
        PerceptualTrainer(make_residual(), LPIPS("alex", *weights("alex")), RECIPE, tmp_path)
    with pytest.raises(images.ImageError, match="both sides of at least 128 pixels"):
        trainer(tmp_path / "run", dataclasses.replace(RECIPE, crop=128)).run(photos)
