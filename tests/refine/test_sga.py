"""Refinement: never worse, exact through a file, reproducible, independent within a batch, stoppable."""

import time
from pathlib import Path

import pytest
import torch
from small_codec import make_codec, picture

from pylatent import images, load
from pylatent.codecs.rounding import nearest
from pylatent.errors import ModelError
from pylatent.refine import Annealing, SgaPlus, sga, true_loss
from pylatent.refine.objective import relaxed_loss
from pylatent.refine.sga import METHODS, trained_lambda

PICTURE = Path(__file__).parents[1] / "data" / "pictures" / "rgb_96x64.png"
LAM = 5e-5  # the small codec is not trained: its distortion is large


@pytest.fixture(scope="module")
def codec():
    return make_codec()


@pytest.fixture(scope="module")
def x():
    return picture(48, 40, batch=2)


@pytest.fixture(scope="module")
def refined(codec, x):
    return SgaPlus(codec, learning_rate=0.04, every=5).refine(x, lam=LAM, steps=40)


def test_the_loss_falls(refined):
    start = refined.history[0].true
    assert refined.stopped == "steps"
    assert refined.steps == 40
    assert [reading.step for reading in refined.history] == list(range(0, 41, 5))
    assert (refined.best.loss < 0.97 * start.loss).all()
    lowest = torch.stack([reading.true.loss for reading in refined.history]).min(0).values
    assert torch.equal(refined.best.loss, lowest)


def test_the_best_is_what_a_file_gives():
    """Bits, distortion and latents of the decoded stream of the default model are those that were optimised."""
    codec, x = load(), images.read(PICTURE).tensor[None].float() / 255
    refined = SgaPlus(codec).refine(x, quality=2, steps=40)
    assert refined.best.loss < 0.99 * refined.history[0].true.loss
    (stream,) = codec.encode(refined.latents)
    decoded = codec.decode([stream])
    for level, again in zip(codec.as_coded(refined.latents).levels, decoded.levels, strict=True):
        assert torch.equal(level, again)
    torch.testing.assert_close((codec.synthesize(decoded) - x).square().mean((1, 2, 3)), refined.best.mse)
    bits = 8 * sum(map(len, stream.sections))
    assert bits == pytest.approx(float(refined.best.bpp) * 96 * 64, rel=0.005, abs=8 * 32)


def test_true_loss_of_unrefined_latents(codec, x):
    latents = codec.analyze(x)
    true = true_loss(codec, latents, x, LAM)
    torch.testing.assert_close(true.loss, true.bpp + LAM * 255**2 * true.mse)
    torch.testing.assert_close(
        true.psnr, -10 * torch.log10((codec(x).x_hat - x).square().mean((1, 2, 3))), rtol=0.02, atol=0
    )


def test_relaxed_loss_is_the_true_one_when_rounded(codec, x):
    """Up to the exact networks' grid and the clamping of pixels."""
    latents = codec.analyze(x)
    with torch.no_grad():
        relaxed = relaxed_loss(codec, latents, x, LAM, nearest)
    torch.testing.assert_close(relaxed, true_loss(codec, latents, x, LAM).loss, rtol=0.05, atol=0)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_methods(codec, x, method, classes):
    refined = SgaPlus(codec, method=method, classes=classes, learning_rate=0.01, every=10).refine(x, lam=LAM, steps=20)
    assert (refined.best.loss <= refined.history[0].true.loss).all()
    assert all(torch.isfinite(level).all() for level in refined.latents.levels)


@pytest.fixture
def uphill(monkeypatch):
    """Every step does harm."""
    monkeypatch.setattr(sga, "relaxed_loss", lambda *arguments: -relaxed_loss(*arguments))


def test_never_worse(codec, x, uphill):
    refined = SgaPlus(codec, learning_rate=0.9, every=1).refine(x, lam=LAM, steps=3)
    start = codec.analyze(x)
    assert torch.equal(refined.best.loss, refined.history[0].true.loss)
    for level, first in zip(refined.latents.levels, start.levels, strict=True):
        assert torch.equal(level, first)


def test_divergence_keeps_the_best(codec, x, monkeypatch):
    monkeypatch.setattr(sga, "relaxed_loss", lambda *arguments: relaxed_loss(*arguments) * float("nan"))
    refined = SgaPlus(codec, every=2).refine(x, lam=LAM, steps=10)
    assert (refined.stopped, refined.steps) == ("diverged", 2)
    assert torch.equal(refined.latents.levels[0], codec.analyze(x).levels[0])
    assert SgaPlus(codec, every=20).refine(x, lam=LAM, steps=3).best.loss.isfinite().all()


def test_the_learning_rate_falls_linearly(codec, x, monkeypatch):
    rates, step = [], torch.optim.Adam.step

    def record(adam):
        rates.append(adam.param_groups[0]["lr"])
        step(adam)

    monkeypatch.setattr(torch.optim.Adam, "step", record)
    SgaPlus(codec, learning_rate=0.04).refine(x, lam=LAM, steps=4)
    assert rates == pytest.approx([0.04, 0.03, 0.02, 0.01])


def test_reproducible(codec, x):
    sga = SgaPlus(codec, learning_rate=0.04, every=5)
    first, second = (sga.refine(x, lam=LAM, steps=5, seed=seed) for seed in (0, 0))
    other = sga.refine(x, lam=LAM, steps=5, seed=1)
    assert torch.equal(first.latents.levels[0], second.latents.levels[0])
    assert not torch.equal(first.latents.levels[0], other.latents.levels[0])


def test_pictures_of_a_batch_do_not_influence_each_other(codec, x):
    sga = SgaPlus(codec, method="straight-through", learning_rate=0.04, every=5)
    together = sga.refine(x, lam=LAM, steps=10)
    for number in range(2):
        alone = sga.refine(x[number : number + 1], lam=LAM, steps=10)
        torch.testing.assert_close(alone.best.loss[0], together.best.loss[number], rtol=2e-3, atol=0)


def test_fixed_rate(x):
    codec = make_codec(gains=0)
    refined = SgaPlus(codec, learning_rate=0.04).refine(x, lam=LAM, steps=20)
    assert (refined.best.loss < refined.history[0].true.loss).all()


def test_another_lambda_moves_the_rate(codec, x):
    sga = SgaPlus(codec, learning_rate=0.04)
    low, high = (sga.refine(x, lam=lam, steps=40).best for lam in (LAM / 10, LAM * 1000))
    assert (low.bpp < high.bpp).all()
    assert (low.mse > high.mse).all()


def test_the_codec_stays_as_it_was(codec, x):
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    codec.g_a[0].weight.requires_grad_(False)
    SgaPlus(codec).refine(x, lam=LAM, steps=2)
    assert not codec.g_a[0].weight.requires_grad
    codec.g_a[0].weight.requires_grad_(True)
    assert all(p.requires_grad and p.grad is None for n, p in codec.named_parameters() if "quantiles" not in n)
    assert all(torch.equal(value, before[name]) for name, value in codec.state_dict().items())


def test_stop(codec, x):
    asked = iter([False, False, False, True])
    refined = SgaPlus(codec).refine(x, lam=LAM, steps=50, stop=lambda: next(asked))
    assert (refined.stopped, refined.steps) == ("asked", 3)
    assert refined.history[-1].step == 3


def test_time_budget(codec, x):
    started = time.monotonic()
    refined = SgaPlus(codec).refine(x, lam=LAM, steps=10**9, time_budget=0.5)
    assert refined.stopped == "time"
    assert 0 < refined.steps < 10**5
    assert refined.history[-1].tau == pytest.approx(0.2466, abs=1e-3)
    assert time.monotonic() - started < 30


def test_patience(codec, x, uphill):
    refined = SgaPlus(codec, learning_rate=0.9, every=2).refine(x, lam=LAM, steps=50, patience=3)
    assert (refined.stopped, refined.steps) == ("patience", 6)


def test_report(codec, x):
    readings = []
    refined = SgaPlus(codec, every=2).refine(x, lam=LAM, steps=4, report=readings.append)
    assert tuple(readings) == refined.history


def test_annealing():
    scaled = Annealing()
    assert scaled.at(0, 500) == 1
    assert scaled.at(500, 500) == pytest.approx(0.2466, abs=1e-4)
    assert Annealing(0.5, 1e-3).at(693, 2000) == pytest.approx(0.5, abs=1e-3)
    assert Annealing(0.5, 1e-3).at(2000, 2000) == pytest.approx(0.1353, abs=1e-4)
    assert Annealing(1, 1.0).at(100, 2000) == 0.05


def test_trained_lambda(codec):
    codec = make_codec()
    with pytest.raises(ModelError, match="does not say with which lambda it was trained: give `lam`"):
        trained_lambda(codec, (1.0,))
    codec.lambdas = (0.01, 0.04, 0.08)
    assert [trained_lambda(codec, (q,)) for q in (1.0, 1.5, 3.0)] == pytest.approx([0.01, 0.02, 0.08])
    with pytest.raises(ValueError, match="same for all pictures"):
        trained_lambda(codec, (1.0, 2.0))


def test_large_pictures_in_tiles(codec):
    """Gradients through tiles are those of the whole picture."""
    x = picture(24, 1100)
    latents = codec.analyze(x)
    quality = torch.tensor(latents.quality)
    y = latents.levels[0].detach().requires_grad_()
    (tiled,) = torch.autograd.grad(codec.synthesis((y,), quality).square().sum(), y)
    y_hat = y * codec._gain(codec.inverse_gain, quality)
    (whole,) = torch.autograd.grad(codec._g_s(y_hat).square().sum(), y)
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "tanh"}, "`method` must be one of atanh, linear"),
        ({"learning_rate": 0}, "`learning_rate` must be between 0 and 1, got 0"),
        ({"every": 0}, "`every` must be at least 1"),
    ],
)
def test_wrong_settings(codec, settings, message):
    with pytest.raises(ValueError, match=message):
        SgaPlus(codec, **settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"time_budget": 0}, "`time_budget` must be above 0"),
        ({"patience": 0}, "`patience` must be at least 1"),
        ({"lam": -1}, "`lam` must be above 0, got -1"),
        ({"quality": 9}, "the quality must be from 1 to 4"),
    ],
)
def test_wrong_arguments(codec, x, arguments, message):
    with pytest.raises(ValueError, match=message):
        SgaPlus(codec).refine(x, **{"lam": LAM, **arguments})


def test_unknown_lambda(codec, x):
    with pytest.raises(ModelError, match="give `lam`"):
        SgaPlus(codec).refine(x)


def test_wrong_pixels(codec, x):
    with pytest.raises(ValueError, match="`x` must be float32, got torch.float64"):
        SgaPlus(codec).refine(x.double(), lam=LAM)
    with pytest.raises(ValueError, match="`highest` must be from"):
        Annealing(1.5)
    with pytest.raises(ValueError, match="`decay` must be finite"):
        Annealing(1, -1)
