"""Integer syntheses on CUDA against the definition, to the bit: layers in every form, then networks."""

import dataclasses
from contextlib import contextmanager
from functools import partial

import emulation
import pytest
import torch
import torch.nn.functional as F
from integer_networks import integers, latents, random_synthesis, synthesis_at_its_limits

import pylatent
from pylatent import _native
from pylatent.codecs import _integer_cuda, integer
from pylatent.codecs._conv_cuda import convolve, whole
from pylatent.codecs.integer import IntegerLayer, IntegerSynthesis

pytestmark = pytest.mark.parametrize("device", ["cuda", "cuda-emulated-0"], indirect=True)

WHY_NOT_NATIVE = _native.why_not_native()


@contextmanager
def multiprocessors(count, threads):
    """What an emulated device believes to have, and how many threads each block of a convolution then must have."""
    if not _native.is_emulated():
        yield
        return
    module = emulation.module("_emulated")
    module.set_multiprocessors(count)
    module.reset_counters()
    module.count(True)
    try:
        yield
    finally:
        module.set_multiprocessors(4)
        module.count(False)
    assert {one["threads"] for one in module.counters() if one["name"] == "integer_conv"} == {threads}


small_tiles, large_tiles = partial(multiprocessors, 1000, 128), partial(multiprocessors, 1, 256)


def random_layer(generator, inputs, outputs, kernel, *, shuffle=1, leaky=False, skip=False, largest=2000):
    """Weights of 12 bits, biases and multipliers as large as sums of 32 bits allow, results of 16 bits."""
    weight = integers(generator, -largest, largest, outputs, inputs, kernel, kernel).to(torch.int16)
    bias = integers(generator, -(1 << 28), 1 << 28, outputs).int()
    multiplier = integers(generator, 1 << 16, 1 << 19, outputs).int()
    return IntegerLayer("layer", weight, bias, multiplier, leaky, skip, -32767, 32767, shuffle, torch.ones(inputs))


def same_layer(layer, values, device, before=None, last=False):
    """values, before: int64 (B, C, H, W); returns the definition's result."""

    def channels_last(x):
        padded = F.pad(x.permute(0, 2, 3, 1), (0, whole(x.shape[1]) - x.shape[1]))
        return padded.to(device, torch.int16).contiguous()

    packed, result = _integer_cuda.pack_layer(layer, device, last=last)
    skip = None if before is None else channels_last(before)
    got = convolve(packed, channels_last(values), tuple(values.shape[2:]), result, skip).cpu().permute(0, 3, 1, 2)
    expected = integer._apply(layer, values, before)
    assert torch.equal(got[:, : layer.channels].long(), expected)
    assert not got[:, layer.channels :].any()
    return expected


def activations(generator, *shape):
    return integers(generator, -8191, 8191, *shape)


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "size"),
    [(32, 64, 3, (16, 32)), (37, 72, 3, (15, 31)), (40, 130, 1, (7, 47)), (200, 64, 1, (8, 16)), (96, 40, 3, (8, 33))],
)
def test_large_tiles(inputs, outputs, kernel, size, device):
    generator = torch.Generator().manual_seed(0)
    layer = random_layer(generator, inputs, outputs, kernel, leaky=True)
    with large_tiles():
        expected = same_layer(layer, activations(generator, 1, inputs, *size), device)
    assert expected.unique().numel() > 500


@pytest.mark.parametrize("kernel", [1, 3])
def test_small_tiles(kernel, device):
    generator = torch.Generator().manual_seed(1)
    for inputs, outputs, size in (
        (1, 1, (1, 1)),
        (9, 8, (2, 8)),
        (65, 33, (3, 9)),
        (300, 40, (5, 7)),
        (128, 32, (4, 8)),
    ):
        layer = random_layer(generator, inputs, outputs, kernel)
        with small_tiles():
            same_layer(layer, activations(generator, 2, inputs, *size), device)


def test_shuffles(device):
    generator = torch.Generator().manual_seed(2)
    for channels, shuffle in ((1, 2), (8, 2), (11, 3), (3, 4)):
        layer = random_layer(generator, 5, channels * shuffle**2, 1, shuffle=shuffle)
        same_layer(layer, activations(generator, 2, 5, 3, 5), device)


def test_sums_of_two_layers(device):
    """What is added lies between the rounding and the clamp."""
    generator = torch.Generator().manual_seed(3)
    for channels in (5, 40):
        layer = dataclasses.replace(random_layer(generator, 9, channels, 3, skip=True), low=-9000, high=7000)
        values, before = activations(generator, 2, 9, 5, 6), 4 * activations(generator, 2, channels, 5, 6)
        expected = same_layer(layer, values, device, before)
        assert int(expected.min()) == -9000
        assert int(expected.max()) == 7000


@pytest.mark.parametrize("shuffle", [1, 2, 4, 5])
def test_pixels(shuffle, device):
    generator = torch.Generator().manual_seed(4)
    layer = random_layer(generator, 9, 3 * shuffle**2, 3, shuffle=shuffle)
    layer = dataclasses.replace(layer, low=0, high=255, bias=layer.bias // 8, multiplier=layer.multiplier // 16)
    expected = same_layer(layer, activations(generator, 2, 9, 3, 9), device, last=True)
    assert expected.unique().numel() > 20


@pytest.mark.parametrize("tiles", [small_tiles, large_tiles])
def test_extreme_digits(tiles, device):
    """Bytes at their ends, of activations and of weights; every product comes first, alone and with others."""
    ends = torch.tensor([-32767, -32641, -32513, -32512, -257, -256, -129, -128, -1, 0, 1, 127, 128, 255, 256, 32767])
    weight = torch.diag(ends).repeat(4, 1)
    weight[16:32] = ends.roll(3) // 16
    weight[32:] = ends[(torch.arange(32)[:, None] * 5 + torch.arange(16)) % 16] // 8
    ones = torch.ones(64).int()
    shape = (False, False, -32767, 32767, 1, torch.ones(16))
    layer = IntegerLayer("ends", weight[..., None, None].to(torch.int16), 0 * ones, ones << 17, *shape)
    values = ends[(torch.arange(16)[:, None] * 3 + torch.arange(128)) % 16].view(1, 16, 8, 16)
    with tiles():
        same_layer(layer, values, device)
        same_layer(dataclasses.replace(layer, multiplier=ones << 27), values, device)


@pytest.mark.parametrize("leaky", [False, True])
def test_every_rounding(leaky, device):
    """Sums around halves of a unit and around 0, multipliers from 1 to 2^31 - 1."""
    multiplier = torch.tensor([1, 2**31 - 1, 2**30, 2**16, 3 << 14, 655 << 10, 12345, 2**24 - 1]).int()
    bias = torch.tensor([0, 1, -1, 2**15, -(2**15), 2**29, 77, -77]).int()
    weight = torch.tensor([1, -1, 3, 257, -256, 9, 4, 5]).view(8, 1, 1, 1).to(torch.int16)
    layer = IntegerLayer("rounding", weight, bias, multiplier, leaky, False, -32767, 32767, 1, torch.ones(1))
    values = torch.cat([torch.arange(-300, 300), torch.arange(-32767, 32768, 129)]).view(1, 1, 1, -1)
    same_layer(layer, values, device)


def test_schedules_do_not_matter(device):
    generator = torch.Generator().manual_seed(5)
    layer, values = random_layer(generator, 70, 40, 3), activations(generator, 1, 70, 7, 15)
    for tiles in (small_tiles, large_tiles):
        for seed in range(3):
            if _native.is_emulated():
                emulation.module("_emulated").set_seed(seed)
            with tiles():
                same_layer(layer, values, device)


def same(synthesis, y_hat, device):
    rows = [number % len(synthesis.gains) for number in range(len(y_hat))]
    expected = synthesis.reference(y_hat, synthesis.gains[rows])
    got = synthesis(y_hat.to(device), [row + 1.0 for row in rows])
    assert got.device.type == device.type
    assert got.dtype == torch.uint8
    assert torch.equal(got.cpu(), expected)


@pytest.mark.parametrize("seed", range(3))
def test_random_networks(seed, device):
    generator = torch.Generator().manual_seed(seed)
    channels = [(7, 40, 33, 5), (1, 1, 1, 1), (3, 17, 16, 31)][seed]
    synthesis = random_synthesis(seed, channels)
    same(synthesis, latents(generator, 2, channels[0], 2, 3), device)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2.0**31, -3e38, 2048.0, 0.003, 0.5 / 256])
def test_hostile_latents_saturate(value, device):
    generator = torch.Generator().manual_seed(0)
    synthesis = random_synthesis(4, (7, 8, 8, 4))
    y_hat = latents(generator, 2, 7, 1, 3)
    y_hat[0, 3, 0, 1] = value
    y_hat[1] = (torch.randint(0, 2, (7, 1, 3), generator=generator) * 2 - 1) * value
    same(synthesis, y_hat, device)


@pytest.mark.parametrize("sign", [-1, 1])
def test_sums_at_their_limits(sign, device):
    synthesis = synthesis_at_its_limits(sign)
    for magnitude in (32.0, -32.0):
        same(synthesis, torch.full((1, 5, 3, 4), magnitude), device)


def test_strides_and_batches_do_not_matter(device):
    synthesis = random_synthesis(5, (7, 8, 8, 4))
    y_hat = latents(torch.Generator().manual_seed(2), 3, 7, 2, 3)
    qualities = (1.0, 2.5, 3.0)
    gains = torch.stack([integer.gains_of(synthesis.gains, one) for one in qualities])
    expected = synthesis.reference(y_hat, gains)
    for strided in (
        y_hat,
        y_hat.contiguous(memory_format=torch.channels_last),
        torch.stack([y_hat, y_hat], -1)[..., 0],
    ):
        assert torch.equal(synthesis(strided.to(device), qualities).cpu(), expected)
    assert torch.equal(synthesis(y_hat[1:2].double().to(device), qualities[1:2]).cpu(), expected[1:2])
    assert synthesis(y_hat[:0].to(device), ()).shape == (0, 3, 16, 24)


def test_large_pictures_go_in_tiles(device, monkeypatch):
    synthesis = random_synthesis(3, (5, 8, 9, 6))
    monkeypatch.setattr(integer, "_CUDA_TILE", 4)
    same(synthesis, latents(torch.Generator().manual_seed(1), 2, 5, 5, 6), device)


def test_the_public_call_runs_kernels(device, monkeypatch):
    synthesis = random_synthesis(7, (7, 8, 8, 4))
    y_hat = latents(torch.Generator().manual_seed(2), 1, 7, 2, 2)
    expected = synthesis.reference(y_hat, synthesis.gains[:1])
    monkeypatch.setattr(IntegerSynthesis, "reference", None)
    assert torch.equal(synthesis(y_hat.to(device), (1.0,)).cpu(), expected)


def test_why_not(device):
    synthesis = random_synthesis(0, (7, 8, 8, 4))
    y_hat = torch.zeros(1, 7, 2, 2, device=device)
    assert _integer_cuda.why_not_native(y_hat, synthesis.layers) is None
    assert "nothing to compute" in _integer_cuda.why_not_native(y_hat[:0], synthesis.layers)
    assert "for CUDA tensors, not for meta" in _integer_cuda.why_not_native(y_hat.to("meta"), synthesis.layers)
    last = dataclasses.replace(synthesis.layers[-1], name="end", skip=True)
    assert "layer end gives pixels and adds" in _integer_cuda.why_not_native(y_hat, [last])
    with pytest.raises(ValueError, match="`y_hat` must have 7 channels, got 6"):
        synthesis(y_hat[:, :6], (1.0,))


@pytest.mark.skipif(WHY_NOT_NATIVE is not None, reason="needs the native core")
@torch.no_grad()
def test_the_default_models_pixels(device, monkeypatch):
    """A file's latents and pixels, of both receivers: its exact networks and syntheses run where the tensors are."""
    codec = pylatent.load("default-2")
    x = torch.rand(1, 3, 24, 40, generator=torch.Generator().manual_seed(0))
    with monkeypatch.context() as patch:
        patch.setattr(_native, "_emulator", None)
        streams = codec.encode(codec.analyze(x, quality=4))
        expected = {receiver: codec.decompress_bytes(streams, receiver=receiver) for receiver in ("full", "light")}
    codec = codec.to(device)
    for receiver, pixels in expected.items():
        assert torch.equal(codec.decompress_bytes(streams, receiver=receiver).cpu(), pixels)
