"""The integer analysis: native kernels against the definition, to the bit; what a codec makes of it."""

import copy
import pickle
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from integer_networks import random_layer
from small_codec import make_codec, make_residual, picture

from pylatent import _native, zoo
from pylatent.codecs import _integer_native
from pylatent.codecs.integer_analysis import UNIT, AnalysisInputs, AnalysisLayer, IntegerAnalysis
from pylatent.codecs.large_tiles import MOST_SPREAD, LargeTiles, largest_spread
from pylatent.errors import ModelError

native = pytest.mark.skipif(_native.why_not_native() is not None, reason="needs the native core")
PIXELS = AnalysisInputs(torch.full((3,), float(UNIT)), 0, UNIT, 4, 16)
VARIANTS = [] if _native.why_not_native() is not None else _integer_native.variants()


LARGEST = int(MOST_SPREAD / largest_spread(-1e4, 1e4) * 1e4)  # of what large tiles take, of both signs


def random_analysis(seed, widths=(20, 33, 48), M=19, *, large=True):
    """Blocks of 4x4 pixels, a residual block, steps of 2, another block, M latents; large tiles where they may be."""
    generator = torch.Generator().manual_seed(seed)
    layers, low, high = [], 0, UNIT

    def tiles_of(made):
        tiles = LargeTiles.make(made.weight.double(), made.bias.double(), made.multiplier, low, high)
        assert tiles is not None
        return tiles

    def add(inputs, outputs, stride=1, **options):
        nonlocal low, high
        made = replace(random_layer(generator, inputs, outputs, 3, low, high, **options), low=-LARGEST, high=LARGEST)
        tiles = tiles_of(made) if large and stride == 1 else None
        low, high = made.low, made.high
        layers.append(AnalysisLayer(made, stride, tiles))

    a, b, c = widths
    add(48, a)
    add(a, a, leaky=True)
    add(a, a, skip=True)
    add(a, b, 2)
    add(b, c, 2)
    add(c, c, leaky=True)
    add(c, c, skip=True)
    last = random_layer(generator, c, M, 3, low, high)
    wide = replace(last, low=-(1 << 29), high=1 << 29, multiplier=last.multiplier.long().mul(300).int())
    layers.append(AnalysisLayer(wide, 1, tiles_of(wide) if large else None))
    return IntegerAnalysis(PIXELS, layers, torch.rand(M, generator=generator) / 1000)


@native
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(1, 1), (16, 33), (50, 7), (65, 100)])
def test_all_kernels_give_the_latents_of_the_definition(seed, size):
    analysis = random_analysis(seed, [(20, 33, 48), (64, 128, 32), (1, 2, 70)][seed], large=seed < 2)
    generator = torch.Generator().manual_seed(seed)
    x, gain = torch.rand(2, 3, *size, generator=generator), torch.rand(2, 19, generator=generator)
    expected = analysis.reference(x, gain)
    assert float(expected.abs().amax()) > 0
    for number, name in enumerate(VARIANTS):
        assert torch.equal(analysis(x, gain, number), expected), name


@pytest.mark.parametrize("low", [0, -LARGEST])
def test_large_tiles_are_nearly_the_convolution(low):
    generator = torch.Generator().manual_seed(7)
    layer = random_layer(generator, 40, 24, 3, low, LARGEST, leaky=True)
    tiles = LargeTiles.make(layer.weight.double(), layer.bias.double(), layer.multiplier, low, LARGEST)
    values = torch.randint(low, LARGEST + 1, (2, 40, 11, 14), generator=generator)
    exact = F.conv2d(values.double(), layer.weight.double(), layer.bias.double(), padding=1)
    exact = F.leaky_relu(exact) * layer.multiplier.double()[:, None, None] / 2**32
    error = tiles.apply(values, leaky=True) - exact
    assert float(error.square().mean().sqrt()) < 1e-2 * float(exact.square().mean().sqrt())
    inputs = {"what is too large": (low, 2 * LARGEST), "and sums that are": (low, LARGEST)}
    weights = {"what is too large": layer.weight.double(), "and sums that are": layer.weight.double() * 2.0**40}
    for name, (lowest, highest) in inputs.items():
        made = LargeTiles.make(weights[name], layer.bias.double(), layer.multiplier, lowest, highest)
        assert made is None, name


def random_hyper_analysis(seed, channels=(37, 48, 33, 5)):
    """Latents of both signs, three layers of which two halve the sides."""
    generator = torch.Generator().manual_seed(seed)
    layers, low, high = [], -900, 1200
    for number, (inputs, outputs) in enumerate(pairwise(channels)):
        made = random_layer(generator, inputs, outputs, 3, low, high, leaky=number < 2)
        low, high = made.low, made.high
        layers.append(AnalysisLayer(made, 1 + (number > 0)))
    units = 100 * torch.rand(channels[0], generator=generator)
    return IntegerAnalysis(AnalysisInputs(units, -900, 1200), layers, torch.rand(channels[-1], generator=generator))


@native
@pytest.mark.parametrize("size", [(1, 1), (4, 9), (18, 33)])
def test_all_kernels_give_what_is_defined_above_the_latents(size):
    analysis = random_hyper_analysis(4)
    y = 10 * torch.randn(2, 37, *size, generator=torch.Generator().manual_seed(5))
    y[0, 3, 0, 0], y[1, 2, 0, 0] = float("nan"), -float("inf")
    expected = analysis.reference(y)
    assert float(expected.abs().amax()) > 0
    for number, name in enumerate(VARIANTS):
        assert torch.equal(analysis(y, variant=number), expected), name


@native
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1.0, 2.0, 1e38])
def test_hostile_pixels_saturate(value):
    analysis, gain = random_analysis(0), torch.ones(1, 19)
    x = picture(20, 30)
    x[0, 1, 4, 5] = value
    for number, name in enumerate(VARIANTS):
        assert torch.equal(analysis(x, gain, number), analysis.reference(x, gain)), name


@native
def test_strides_threads_batches_and_copies_do_not_matter():
    analysis = random_analysis(1)
    x, gain = torch.cat([picture(100, 140), picture(100, 140, seed=1)]), torch.ones(2, 19)
    expected = analysis(x, gain)
    assert torch.equal(analysis(x.contiguous(memory_format=torch.channels_last), gain), expected)
    assert torch.equal(analysis(x[1:], gain[1:]), expected[1:])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert torch.equal(analysis(x, gain), expected)
            assert torch.equal(analysis(x[:1], gain[:1]), expected[:1])
    finally:
        torch.set_num_threads(before)
    for other in (copy.deepcopy(analysis), pickle.loads(pickle.dumps(analysis))):
        assert torch.equal(other(x, gain), expected)


def test_sums_and_inputs_that_could_leave_their_range_are_refused_by_name():
    layers = list(random_analysis(0).layers)
    large = replace(layers[1].integers, name="g_a.5", bias=torch.full_like(layers[1].integers.bias, (1 << 29) - 1))
    with pytest.raises(ModelError, match=r"layer g_a\.5 cannot be computed in integers: its sums reach"):
        IntegerAnalysis(PIXELS, [layers[0], AnalysisLayer(large, 1), *layers[2:]], torch.ones(19))
    wide = replace(layers[0].integers, high=1 << 13)
    with pytest.raises(ModelError, match="its inputs reach 8192"):
        IntegerAnalysis(PIXELS, [AnalysisLayer(wide, 1), *layers[1:]], torch.ones(19))
    halving = replace(layers[3], tiles=layers[0].tiles)
    with pytest.raises(ModelError, match="cannot be computed in large tiles: it halves the sides"):
        IntegerAnalysis(PIXELS, [*layers[:3], halving, *layers[4:]], torch.ones(19))
    with pytest.raises(ModelError, match=r"must have a weight \(O, 48, 3, 3\)"):
        IntegerAnalysis(PIXELS, layers[1:], torch.ones(19))


@pytest.fixture(scope="module")
def codec():
    codec = make_residual()
    codec.calibrate(picture(64, 64, seed=seed) for seed in range(3))
    return codec


@torch.no_grad()
def test_nothing_of_the_calibration_pictures_is_clipped(codec):
    """g_a's streams end at limits that the float network has, too."""
    levels = [codec.analyze(picture(64, 64, seed=seed), 1.0 + seed).levels for seed in range(3)]
    form = codec._forms.of("h_a", codec.h_a)
    for y, z in levels:
        given = form.inputs.units[:, None, None] * y
        assert form.inputs.low < float(given.min()) < 0 < float(given.max()) < form.inputs.high
        assert torch.allclose(form.reference(y), z, atol=0.02 * float(z.abs().max()))


@torch.no_grad()
@pytest.mark.parametrize("integers", [True, False])
def test_the_analyses_of_several_qualities_are_those_of_each(codec, integers, monkeypatch):
    if not integers:
        monkeypatch.setattr(type(codec), "integer_analyses", lambda *_: None)
        monkeypatch.setattr(type(codec), "integer_analysis", lambda *_: None)
    x = picture(50, 70)
    latents_at = codec.analyses(x)
    for quality in (1.0, 1.5, 3.0, None):
        made, expected = latents_at(quality), codec.analyze(x, quality, integers=True)
        assert (made.size, made.quality) == (expected.size, expected.quality)
        assert all(torch.equal(a, b) for a, b in zip(made.levels, expected.levels, strict=True))
    with pytest.raises(ValueError, match="quality"):
        latents_at(9.0)
    with pytest.raises(ValueError, match="shape"):
        codec.analyses(x[0])


@torch.no_grad()
@native
def test_both_levels_come_from_integers(codec):
    x = picture(50, 70)
    y, z = codec.analyze(x, 2, integers=True).levels
    assert torch.equal(z, codec._forms.of("h_a", codec.h_a).reference(codec._hyper_input(y)))
    assert not torch.equal(z, codec.levels_above(y)[1])
    older = copy.deepcopy(codec)  # of a model file that has scales for g_a alone
    older.load_analysis_state({key: v for key, v in codec.analysis_state().items() if not key.startswith("h_a.")})
    assert torch.equal(older.analyze(x, 2, integers=True).levels[0], y)
    assert torch.equal(older.analyze(x, 2, integers=True).levels[1], codec.levels_above(y)[1])


@torch.no_grad()
@native
def test_compress_takes_it_and_analyze_only_if_asked(codec):
    x = picture(50, 70)
    plain, integers = codec.analyze(x, 2), codec.analyze(x, 2, integers=True)
    assert not torch.equal(plain.y, integers.y)
    assert float((plain.y - integers.y).abs().max()) < 0.02 * float(plain.y.abs().max())
    assert codec.compress(x, 2) == codec.encode(integers)
    codec.bf16 = True
    try:
        with torch.autocast("cpu", torch.bfloat16):
            expected = codec.analyze(x, 2, integers=True)
        assert codec.compress(x, 2) == codec.encode(expected)
    finally:
        codec.bf16 = False


@native
def test_gradients_and_changed_weights_keep_the_float_network(codec):
    x = picture(32, 32)
    assert codec.analyze(x, 2, integers=True).y.requires_grad
    other = copy.deepcopy(codec)
    with torch.no_grad():
        before = other.analyze(x, 2, integers=True).y
        other.g_a[1].bias.add_(1e-3)
        assert not torch.equal(other.analyze(x, 2, integers=True).y, before)
        other.load_state_dict(codec.state_dict())
        assert torch.equal(other.analyze(x, 2, integers=True).y, before)
        other.load_state_dict(codec.float_state())  # weights alone
        assert torch.equal(other.analyze(x, 2, integers=True).y, codec.analyze(x, 2).y)


@native
def test_weights_that_do_not_fit_their_scales_are_refused(codec):
    other = copy.deepcopy(codec)
    with torch.no_grad():
        other.h_a[0].weight.mul_(1e3)
        with pytest.raises(ModelError, match=r"layer h_a\.0 does not fit its scales"):
            other.compress(picture(32, 32), 2)
        other.g_a[1].weight.mul_(1e3)
        with pytest.raises(ModelError, match=r"layer g_a\.1 does not fit its scales"):
            other.compress(picture(32, 32), 2)


def test_codecs_without_an_integer_form_have_none():
    codec = make_codec()
    assert codec.analysis_state() == {}
    with torch.no_grad():
        x = picture(32, 32)
        assert torch.equal(codec.analyze(x, 2, integers=True).y, codec.analyze(x, 2).y)


@torch.no_grad()
def test_a_model_file_keeps_it_outside_of_the_hash(codec, tmp_path):
    header = zoo.save_codec(codec, tmp_path / "with.safetensors", name="with", card={})
    without = copy.deepcopy(codec)
    without.load_analysis_state({})
    other = zoo.save_codec(without, tmp_path / "without.safetensors", name="with", card={})
    assert header.hash == other.hash
    loaded = zoo.load(tmp_path / "with.safetensors")
    assert loaded.analysis_state().keys() == codec.analysis_state().keys()
    x = picture(40, 60)
    again = zoo.load(tmp_path / "with.safetensors")
    assert torch.equal(loaded.analyze(x, 2, integers=True).y, again.analyze(x, 2, integers=True).y)
    assert zoo.load(tmp_path / "without.safetensors").analysis_state() == {}


def test_the_default_model_has_one():
    assert zoo.load("default-2").analysis_state().keys() >= {"0.units", "h_a.0.units"}
