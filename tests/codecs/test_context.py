"""The context hyperprior: two steps for y, channels that are not coded, priors by band, tables fitted to symbols."""

import dataclasses

import pytest
import torch
from small_codec import make_context, picture

from pylatent import zoo
from pylatent.codecs import ContextHyperprior, _exact_native
from pylatent.codecs.context import ExactParameters, FloatParameters, ScaleGrid, table_of
from pylatent.codecs.exact import table_indexes
from pylatent.codecs.rounding import nearest
from pylatent.coding.container import Bitstream
from pylatent.entropy.gaussian import default_scales
from pylatent.errors import FormatError
from pylatent.refine import SgaPlus
from pylatent.train.tables import fit_tables

SIZES = [(1, 1), (1, 40), (17, 31), (64, 64), (224, 224), (2064, 33)]


def assert_same(a, b):
    for field in ("levels", "means", "scales"):
        for level, (x, y) in enumerate(zip(getattr(a, field), getattr(b, field), strict=True)):
            assert x is y is None or torch.equal(x, y), f"{field} of level {level}"


@pytest.fixture(scope="module")
def codec():
    return make_context()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@torch.no_grad()
def test_decode_returns_what_encode_quantised(codec, size):
    latents = codec.analyze(picture(*size, batch=2), [1.5, 3.75])  # in different bands
    streams = codec.encode(latents)
    assert [len(stream.sections) for stream in streams] == [3, 3]
    decoded = codec.decode([Bitstream.from_record(stream.to_record()) for stream in streams])
    assert_same(decoded, codec.as_coded(latents))
    assert_same(decoded, codec.quantize(latents, nearest, exact=True).latents)
    for number in range(2):
        assert_same(codec.decode(streams[number : number + 1]), decoded[number])
    assert codec.synthesize(decoded).shape == (2, 3, *size)


@torch.no_grad()
def test_the_integers_are_those_of_the_definition(codec, monkeypatch):
    latents = codec.analyze(picture(80, 112), 2)
    streams = codec.encode(latents)
    monkeypatch.setattr(_exact_native, "why_not_native", lambda *_: "float64 is wanted here")
    assert codec.encode(latents) == streams


@torch.no_grad()
def test_channels_that_are_not_coded_take_their_means(codec):
    latents = codec.analyze(picture(96, 80), 3)
    decoded = codec.as_coded(latents)
    assert torch.equal(decoded.y[:, 10:], decoded.means[0][:, 10:])
    assert decoded.y[:, 10:].unique().numel() > 10, "they are predicted from z"
    assert torch.equal(decoded.levels[1][0, 6:, 0, 0], torch.round(torch.tensor([0.3, -1.7]) * 256) / 256)
    moved = dataclasses.replace(
        latents,
        levels=(latents.y.index_add(1, torch.tensor([11]), torch.ones_like(latents.y[:, :1])), latents.levels[1]),
    )
    assert codec.encode(moved) == codec.encode(latents)


@torch.no_grad()
def test_the_second_step_depends_on_the_first(codec):
    latents = codec.analyze(picture(96, 80), 3)
    y = latents.y.clone()
    y[:, 0, 2, 2] += 9  # of the first step: an even square of the first half
    before = codec.as_coded(latents)
    after = codec.as_coded(dataclasses.replace(latents, levels=(y, latents.levels[1])))
    changed = (after.means[0] != before.means[0]) | (after.scales[0] != before.scales[0])
    even = (torch.arange(6)[:, None] + torch.arange(5)) % 2 == 0
    assert not changed[:, :5, even].any()
    assert not changed[:, 5:10, ~even].any()
    assert changed[:, :5, ~even].any()
    assert changed[:, 5:10, even].any()
    assert not changed[:, 10:].any()


@torch.no_grad()
def test_float_and_exact_walks_agree(codec):
    latents = codec.analyze(picture(160, 160), 3)
    exact, floats = (codec.quantize(latents, nearest, exact=choice) for choice in (True, False))
    for a, b in zip(exact.bits, floats.bits, strict=True):
        torch.testing.assert_close(a, b, rtol=0.01, atol=1)
    difference = (exact.latents.means[0] - floats.latents.means[0]).abs()
    assert float((difference < 0.05).float().mean()) > 0.95
    size = 8 * sum(map(len, codec.encode(latents)[0].sections))
    assert size == pytest.approx(float(sum(exact.bits)), rel=0.03, abs=3 * 40)


@torch.no_grad()
def test_every_scale_gets_the_nearest_table():
    grid, scales = ScaleGrid.build(), default_scales()
    integers = torch.unique(torch.round(torch.logspace(-1, 2.5, 5000) * 256))
    tables = table_of(table_indexes(integers.float(), grid.thresholds)).int()
    distance = (torch.log(integers[:, None] / 256) - torch.log(scales)).abs()
    excess = distance.gather(1, tables[:, None].long())[:, 0] - distance.amin(1)
    assert float(excess.max()) < 0.04  # an eighth of a table, and what the grid adds
    mean = torch.round(256 * torch.randn(1, 3, 4, 5)).double()
    scale = torch.round(256 * (0.2 + 30 * torch.rand(1, 3, 4, 5)))
    exact, floats = ExactParameters(mean, scale, grid, 64), FloatParameters(mean.float() / 256, scale.float() / 256)
    torch.testing.assert_close(exact.inputs().float() / 256, floats.inputs(), rtol=0.1, atol=0.03)
    values = mean + 256 * torch.randint(-9, 10, mean.shape)
    torch.testing.assert_close(
        exact.residuals(values).float() / 256, floats.residuals(values.float() / 256), rtol=0.13, atol=0.01
    )
    changes = torch.round(256 * torch.randn(1, 6, 4, 5)).double()
    ours, theirs = exact.second(changes), floats.second(changes.float() / 256)
    base = mean.float() / 256
    torch.testing.assert_close(ours.mean.float() / 256 - base, theirs.mean - base, rtol=0.14, atol=0.02)
    torch.testing.assert_close(torch.log(scales[ours.indexes.long() - 64]), torch.log(theirs.scale), rtol=0, atol=0.12)


@torch.no_grad()
def test_bands_follow_the_quality(codec):
    x = picture(64, 64)
    latents = codec.analyze(x.expand(4, -1, -1, -1), [1, 2.984375, 3, 4])
    assert [len(stream.sections[0]) for stream in codec.encode(latents)]
    prior = codec.entropy_bottleneck
    before = codec.quantize(latents, nearest).bits[1]
    prior.factors[0][6:] += 0.5  # the second band's
    after = codec.quantize(latents, nearest).bits[1]
    prior.factors[0][6:] -= 0.5
    assert (after != before).tolist() == [False, False, True, True]


@torch.no_grad()
def test_fitted_tables_save_bits_and_decode():
    codec = make_context()
    latents = [codec.analyze(picture(160, 160, seed=seed), 3) for seed in range(3)]
    before = sum(len(codec.encode(each)[0].to_record()) for each in latents)
    codec.update((fit_tables(codec, latents), codec.prior.tables()))
    streams = [codec.encode(each)[0] for each in latents]
    assert sum(len(stream.to_record()) for stream in streams) < before
    for stream, each in zip(streams, latents, strict=True):
        assert_same(codec.decode([stream]), codec.as_coded(each))


def test_gradients_reach_every_weight():
    codec = make_context().train()
    output = codec(picture(64, 80, batch=2), [1.0, 4.0])
    (output.bpp.sum() + output.x_hat.square().mean()).backward()
    for name, parameter in codec.named_parameters():
        if name not in ("inverse_gain", "gain", "entropy_bottleneck.quantiles", "constants"):
            assert torch.any(parameter.grad != 0), name


def test_refinement_lowers_the_true_loss(codec):
    refined = SgaPlus(codec, learning_rate=0.05).refine(picture(48, 64), lam=1e-6, quality=3, steps=8)
    assert float(refined.best.loss) < 0.99 * float(refined.history[0].true.loss)
    assert_same(codec.decode(codec.encode(refined.latents)), codec.as_coded(refined.latents))


@torch.no_grad()
def test_damaged_streams_are_refused(codec):
    (stream,) = codec.compress(picture(64, 64))
    z, first, second = stream.sections
    for sections in ((z, second, first), (z, first), (z, first, second[:-2]), (first, z, second)):
        with pytest.raises(FormatError):
            codec.decode([dataclasses.replace(stream, sections=sections)])


@torch.no_grad()
def test_a_model_file_keeps_all_of_it(codec, tmp_path):
    zoo.save_codec(codec, tmp_path / "c.safetensors", name="context-1", card={})
    stored, again = zoo.load(tmp_path / "c.safetensors"), zoo.load(tmp_path / "c.safetensors")
    assert stored.config == codec.config
    latents = stored.analyze(picture(64, 64), 2)
    assert stored.encode(latents) == codec.encode(latents)
    streams = stored.encode(latents)
    assert torch.equal(stored.decompress(streams), again.decompress(streams))


def test_wrong_arguments():
    lambdas = (0.1, 0.2)
    with pytest.raises(ValueError, match="`coded` must be an even number from 2 to 256 and one from 1 to 128, got"):
        ContextHyperprior(coded=(3, 4), bands=1, lambdas=lambdas)
    with pytest.raises(ValueError, match="`bands` must be from 1 to 2, the number of `lambdas`, got 3"):
        ContextHyperprior(bands=3, lambdas=lambdas)
