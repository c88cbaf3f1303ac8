"""A context for a trained residual hyperprior: the same values, fewer bits."""

import pytest
import torch
from small_codec import make_residual, picture

from pylatent.codecs import ResidualHyperprior
from pylatent.train import context
from pylatent.train.context import ContextRecipe, analyzed, train_context, with_context

RECIPE = ContextRecipe(channels=(8, 12), bands=3, crop=8, steps=60, learning_rate=5e-3)


@pytest.fixture(scope="module")
def base():
    codec = make_residual()
    with torch.no_grad():
        codec.g_a[-1].weight[3:5] = 0  # two channels without information
        codec.g_a[-1].bias[3:5] = 0
        codec.h_s[-1].weight[[3, 4, 15, 16]] = 0
        codec.h_s[-1].bias[[3, 4, 15, 16]] = 0.1
    codec.update()
    return codec


@pytest.fixture(scope="module")
def pictures():
    return [(255 * picture(128, 160, seed=seed)[0]).to(torch.uint8) for seed in range(2)]


@torch.no_grad()
def test_nothing_changes_but_the_order_of_channels(base, pictures):
    codec = with_context(base, analyzed(base, pictures), RECIPE)
    assert codec.coded[0] == 10
    codec.update()
    x = pictures[0][None].float() / 255
    ours, theirs = codec.as_coded(codec.analyze(x, 2)), base.as_coded(base.analyze(x, 2))
    assert set(map(tuple, ours.y.flatten(2)[0, 10:, :5].tolist())) == set(
        map(tuple, theirs.y.flatten(2)[0, 3:5, :5].tolist())
    )
    torch.testing.assert_close(codec.synthesize(ours), base.synthesize(theirs), rtol=0, atol=0.02)


def test_training_lowers_the_rate_of_files(base, pictures, monkeypatch):
    monkeypatch.setattr(context, "_PRIOR_STEPS", 100)
    ys = analyzed(base, pictures)
    codec, before = (with_context(base, ys, RECIPE) for _ in range(2))
    before.update()
    told = []
    train_context(codec, ys, RECIPE, report=lambda step, bpp: told.append((step, bpp)))
    assert told[-1][0] == RECIPE.steps
    assert codec.context.fuse[-1].weight.requires_grad
    assert not codec.entropy_bottleneck.quantiles.requires_grad
    x = torch.stack(pictures).float() / 255
    with torch.no_grad():
        sizes = [sum(len(s.to_record()) for s in each.compress(x, [1, 3])) for each in (before, codec)]
        decoded = codec.decode(codec.compress(x, [1, 3]))
        assert torch.equal(decoded.y, codec.as_coded(codec.analyze(x, [1, 3])).y)
    assert sizes[1] < 0.97 * sizes[0]
    for name, value in with_context(base, ys, RECIPE).state_dict().items():
        if not name.startswith(("context.", "entropy_bottleneck.")):
            assert torch.equal(value, codec.state_dict()[name]), name


def test_wrong_arguments(base, pictures):
    ys = analyzed(base, pictures)
    with pytest.raises(ValueError, match="no picture has 20 x 20 latents"):
        train_context(with_context(base, ys, RECIPE), ys, ContextRecipe(bands=3))
    with pytest.raises(ValueError, match="must have a variable rate"):
        with_context(ResidualHyperprior((2, 3, 4), M=4, N=2, hyper=(3, 3)), ys, RECIPE)
