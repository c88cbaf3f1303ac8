"""Exact networks on CUDA against the definition in float64, to the bit."""

import dataclasses
import itertools

import emulation
import pytest
import torch
from test_exact_native import LIMIT, SLOPES, choose, integers, layer

from pylatent import _native
from pylatent.codecs import _exact_cuda
from pylatent.codecs._conv_cuda import MOST_PRODUCTS
from pylatent.codecs.exact import ExactNetwork

pytestmark = pytest.mark.parametrize("device", ["cuda", "cuda-emulated-0"], indirect=True)


def same(layers, values, device, size=None, dtype=torch.float64, multiprocessors=4):
    assert _exact_cuda.why_not_layers(layers) is None
    network = ExactNetwork(layers)
    expected = network.reference(values)
    if size is not None:
        expected = expected[..., : size[0], : size[1]]
    if _native.is_emulated():
        emulation.module("_emulated").set_multiprocessors(multiprocessors)
    try:
        got = network(values.to(device), size=size, dtype=dtype)
    finally:
        if _native.is_emulated():
            emulation.module("_emulated").set_multiprocessors(4)
    assert got.dtype == dtype
    assert got.device.type == device.type
    assert torch.equal(got.cpu().double(), expected)
    return expected


def random_layer(generator, inputs, outputs, largest):
    transposed = bool(choose(generator, (0, 1)))
    kernel, stride = choose(generator, (1, 2, 3, 4, 5)), choose(generator, (1, 2)) if transposed else 1
    shape = (*((inputs, outputs) if transposed else (outputs, inputs)), kernel, choose(generator, (kernel, 3)))
    largest = min(largest, (1 << 22) // (inputs * shape[2] * shape[3]))  # as much as ExactNetwork takes
    return layer(
        integers(generator, -largest, largest, *shape),
        integers(generator, -(1 << 18), 1 << 18, outputs),
        stride=stride,
        padding=choose(generator, range((kernel + 1) // 2)),
        output_padding=choose(generator, range(stride)),
        transposed=transposed,
        slope=choose(generator, SLOPES),
    )


@pytest.mark.parametrize("seed", range(16))
def test_random_networks(seed, device):
    generator = torch.Generator().manual_seed(seed)
    channels = [choose(generator, (1, 2, 7, 17, 33, 70)) for _ in range(3)]
    layers = [random_layer(generator, a, b, choose(generator, (300, 32767))) for a, b in itertools.pairwise(channels)]
    largest = choose(generator, (900, 40000, 2 * LIMIT))
    values = integers(generator, -largest, largest, 2, channels[0], 7, 6).double()
    expected = same(layers, values, device, multiprocessors=1 + 999 * (seed % 2))
    size = [int(integers(generator, 1, n, 1)) for n in expected.shape[2:]]
    same(layers, values, device, size, torch.float32)


@pytest.mark.parametrize("transposed", [False, True])
def test_large_tiles(transposed, device):
    generator = torch.Generator().manual_seed(0)
    weight = integers(generator, -900, 900, 34, 34, 5, 5)
    one = layer(weight, integers(generator, -999, 999, 34), stride=1 + transposed, padding=2, transposed=transposed)
    values = integers(generator, -LIMIT, LIMIT, 1, 34, 9, 31).double()
    same([dataclasses.replace(one, output_padding=int(transposed))], values, device, multiprocessors=1)


@pytest.mark.parametrize("multiprocessors", [1, 1000])
def test_phases_of_few_taps(multiprocessors, device):
    """Of 1, 2, 2 and 4: groups of inputs follow each other as fast as they can."""
    generator = torch.Generator().manual_seed(1)
    weight = integers(generator, -900, 900, 330, 34, 3, 3)
    one = layer(weight, integers(generator, -999, 999, 34), stride=2, padding=1, output_padding=1, transposed=True)
    values = integers(generator, -LIMIT, LIMIT, 1, 330, 8, 16).double()
    same([one], values[..., : 16 if multiprocessors == 1 else 5], device, multiprocessors=multiprocessors)


@pytest.mark.parametrize("slope", SLOPES)
def test_every_rounding(slope, device):
    """Sums around multiples of half a step and of 2^20, where slopes, rounding and clamping turn."""
    sums = torch.cat([torch.arange(-700, 700) + k * (1 << 9) for k in (0, 1, -1024, 99999, 2048 * 1024)])
    values = (sums - 7).clamp(-LIMIT, LIMIT).double().view(1, 1, 1, -1)
    same([layer(torch.ones(1, 1, 1, 1), torch.tensor([7]), slope=slope)], values, device)
    big = torch.arange(-LIMIT, LIMIT, 2570).double().view(1, 1, 1, -1)
    same([layer(torch.full((1, 1, 1, 1), 1031), torch.tensor([-11]), slope=slope)], big, device)


def test_every_digit(device):
    """Single products of activations and weights with bytes at their ends, and biases of 40 bits."""
    ends = torch.tensor(
        [-LIMIT, 1 - LIMIT, -65537, -65536, -32769, -257, -256, -1, 0, 1, 255, 256, 32768, 65535, LIMIT]
    )
    weights = torch.tensor([-32767, -32641, -32513, -257, -129, -128, -1, 1, 127, 128, 255, 256, 32512, 32767])
    values = ends.double().view(1, 1, 1, -1)
    same([layer(weights.view(-1, 1, 1, 1), slope=10)], values, device)
    bias = (torch.arange(14) - 7) * (1 << 38) + 511
    same([layer(weights.view(-1, 1, 1, 1), bias, slope=1)], values, device)


@pytest.mark.parametrize("sign", [-1, 1])
def test_digits_of_sums_at_their_limits(sign, device):
    """As many products of the largest bytes as the proof allows."""
    value, weight = 0xFFFFF, 255
    values = torch.full((1, MOST_PRODUCTS, 1, 2), sign * value).double()
    weights = torch.full((1, MOST_PRODUCTS, 1, 1), weight)
    same([layer(weights)], values, device)
    assert "sums 16513 products" in _exact_cuda.why_not_layers([layer(torch.ones(1, MOST_PRODUCTS + 1, 1, 1))])


def test_what_has_no_kernels_takes_the_definition(device):
    values = integers(torch.Generator().manual_seed(0), -900, 900, 1, 1, 9, 9).double().to(device)
    for one, why in (
        (layer(torch.ones(1, 1, 3, 3), stride=2), "layer 0 has stride 2"),
        (layer(torch.ones(1, 1, 3, 3), stride=3, transposed=True), "layer 0 is transposed with stride 3"),
        (layer(torch.ones(1, 1, 9, 9)), "layer 0 has more than 7 taps"),
        (layer(torch.ones(1, 1, 1, 1), slope=2048), "layer 0 has a slope"),
        (layer(torch.full((1, 1, 1, 1), 32768)), "layer 0 has weights beyond 16 bits"),
    ):
        assert why in _exact_cuda.why_not_layers([one])
        network = ExactNetwork([one])
        assert torch.equal(network(values), network.reference(values))
    assert "must be (B, C, H, W)" in _exact_cuda.why_not_native(values[0])
    assert "float32" in _exact_cuda.why_not_native(values.float())


def test_the_public_call_runs_kernels(device, monkeypatch):
    network = ExactNetwork([layer(torch.ones(5, 3, 3, 3), padding=1)])
    values = integers(torch.Generator().manual_seed(0), -900, 900, 2, 3, 4, 5).double()
    expected = network.reference(values)
    monkeypatch.setattr(ExactNetwork, "reference", None)
    for strided in (
        values,
        values.contiguous(memory_format=torch.channels_last),
        torch.stack([values] * 2, -1)[..., 0],
    ):
        assert torch.equal(network(strided.to(device)).cpu(), expected)


def test_values_that_are_no_integers_are_rounded(device):
    network = ExactNetwork([layer(torch.full((1, 1, 1, 1), 1024))])
    values = torch.tensor(
        [0.4, -0.6, 2.5, 1e300, -1e300, float("inf"), -float("inf"), float("nan")], dtype=torch.float64
    )
    expected = torch.tensor([0, -1, 2, LIMIT, -LIMIT, LIMIT, -LIMIT, LIMIT], dtype=torch.float64)
    assert torch.equal(network(values.view(1, 1, 1, -1).to(device)).cpu().flatten(), expected)


def test_wrong_arguments_are_named(device):
    network = ExactNetwork([layer(torch.ones(5, 3, 3, 3))])
    with pytest.raises(ValueError, match="`values` must have 3 channels, got 2"):
        network(torch.zeros(1, 2, 4, 4, dtype=torch.float64, device=device))
    with pytest.raises(ValueError, match="an input 2 long is too short for a kernel of 3"):
        network(torch.zeros(1, 3, 2, 4, dtype=torch.float64, device=device))
