"""The native two-step context against its definition, to the bit, with every set of kernels."""

import copy
import pickle

import pytest
import torch
from small_codec import make_context, picture

from pylatent import _native, zoo
from pylatent.codecs import _exact_native
from pylatent.codecs._context_native import NativeContext, NativeParameters
from pylatent.codecs.context_hyperprior import ContextHyperprior
from pylatent.codecs.exact import ExactNetwork
from pylatent.entropy.gaussian import default_scales

VARIANTS = [] if _native.why_not_native() is not None else _exact_native.variants()
pytestmark = pytest.mark.skipif(not VARIANTS or VARIANTS[-1] == "scalar", reason="needs vector kernels")
SIZES = [(1, 1), (16, 16), (17, 40), (33, 47), (100, 130)]


@pytest.fixture(scope="module")
def codec():
    return make_context()


def with_kernels(codec, variant):
    other = copy.deepcopy(codec)
    networks, channels = other._ready().networks, other.coded[0]
    other._native = NativeContext(networks, other._grid, channels, len(default_scales()), variant)
    return other


def of_the_definition(monkeypatch, call):
    with monkeypatch.context() as patched:
        patched.setattr(ContextHyperprior, "_begin_native", lambda *_: None)
        return call()


def same(a, b):
    tensors = [[*one.levels, *one.means, *(scale for scale in one.scales if scale is not None)] for one in (a, b)]
    return all(torch.equal(x, y) for x, y in zip(*tensors, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("variant", range(len(VARIANTS)), ids=VARIANTS)
def test_streams_and_latents_are_those_of_the_definition(codec, size, variant, monkeypatch):
    latents = codec.analyze(picture(*size, batch=2), [1.0, 3.0])
    streams = of_the_definition(monkeypatch, lambda: codec.encode(latents))
    expected = of_the_definition(monkeypatch, lambda: codec.decode(streams))
    other = with_kernels(codec, variant)
    assert other.encode(latents) == streams
    assert same(other.decode(streams), expected)
    assert same(other.as_coded(latents), expected)


@torch.no_grad()
def test_the_kernels_are_used(codec, monkeypatch):
    latents = codec.analyze(picture(40, 50), 2)
    with monkeypatch.context() as patched:
        patched.setattr(ContextHyperprior, "_begin_y", None)
        streams = codec.encode(latents)
        assert torch.equal(codec.decode(streams).y, codec.as_coded(latents).y)


@torch.no_grad()
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("factor", [30.0, 3e3, 1e6])
def test_large_activations_take_the_definition(codec, level, factor, monkeypatch):
    latents = codec.analyze(picture(40, 50, batch=2), 2)
    latents.levels[level][1].mul_(factor)
    expected = of_the_definition(monkeypatch, lambda: codec.as_coded(latents))
    assert same(codec.as_coded(latents), expected)


@torch.no_grad()
@pytest.mark.parametrize(("reached", "taken"), [(3000, True), (7000, True), (9000, False)])
def test_one_large_channel_leaves_the_others_room(reached, taken):
    """Behind 3,677 the sums of h_s's last layer could overflow if every channel reached it; 8,191 is the tiles' own."""
    codec = zoo.load("default-2")
    networks = codec._ready().networks
    before = ExactNetwork(networks["h_s"].layers[:-1])
    z = torch.zeros(1, codec.N, 3, 2, dtype=torch.float64)
    z[0, 7, 1, 1] = 5000
    for _ in range(3):  # biases are no part of what grows
        z = (z * (reached / float(before(z).max()))).round()
    assert abs(float(before(z).max()) / reached - 1) < 0.1
    context = NativeContext(networks, codec._grid, codec.coded[0], len(default_scales()))
    made = context.begin(z, codec.steps[-2:], (codec.M, 12, 8))
    assert (made is not None) == taken
    if made is not None:
        rest = networks["h_s"].reference(z)[:, 2 * codec.coded[0] :]
        assert torch.equal(made.rest.mean.view_as(rest), rest.float())


@torch.no_grad()
def test_a_second_step_that_does_not_fit_takes_the_definition(codec, monkeypatch):
    latents = codec.analyze(picture(40, 50), 2)
    expected = codec.as_coded(latents)
    monkeypatch.setattr(NativeParameters, "second", lambda *_: None)
    assert same(codec.as_coded(latents), expected)


@torch.no_grad()
def test_weights_beyond_16_bits_take_the_definition(monkeypatch):
    codec = make_context()
    codec.context.hyper[0].weight[0, 0] = 100.0
    codec.update()
    latents = codec.analyze(picture(40, 50), 2)
    expected = of_the_definition(monkeypatch, lambda: codec.as_coded(latents))
    assert same(codec.as_coded(latents), expected)


@torch.no_grad()
def test_threads_copies_and_pickles_do_not_matter(codec):
    latents = codec.analyze(picture(300, 260, batch=2), 2)
    expected = codec.encode(latents)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert codec.encode(latents) == expected
            assert codec.encode(latents[1]) == expected[1:]
    finally:
        torch.set_num_threads(before)
    for other in (copy.deepcopy(codec), pickle.loads(pickle.dumps(codec))):
        assert other.encode(latents) == expected


@torch.no_grad()
def test_the_shipped_model(monkeypatch):
    codec = zoo.load("default-2")
    latents = codec.analyze(picture(120, 200, batch=3), [1.0, 4.5, 8.0])
    expected = of_the_definition(monkeypatch, lambda: codec.encode(latents))
    assert codec.encode(latents) == expected
    assert same(codec.decode(expected), of_the_definition(monkeypatch, lambda: codec.decode(expected)))
