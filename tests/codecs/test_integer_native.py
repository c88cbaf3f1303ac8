"""The native integer synthesis against the definition, to the bit, with every set of kernels."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from integer_networks import latents, random_synthesis, synthesis_at_its_limits

from pylatent import _native
from pylatent.codecs import _integer_native
from pylatent.codecs.integer import IntegerSynthesis

pytestmark = pytest.mark.skipif(_native.why_not_native() is not None, reason="needs the native core")

VARIANTS = [] if _native.why_not_native() is not None else _integer_native.variants()


def same(synthesis, y_hat, rows=None):
    """Compare all variants with the definition, which is returned."""
    gains = synthesis.gains[[number % len(synthesis.gains) for number in range(len(y_hat))]]
    expected = synthesis.reference(y_hat, gains)
    packed = _integer_native.pack(synthesis.largest, synthesis.layers)
    for number, name in enumerate(VARIANTS):
        got = _integer_native.run(packed, y_hat, gains, synthesis.scale, number)
        assert got.dtype == torch.uint8
        assert torch.equal(got, expected), name
    return expected


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed):
    generator = torch.Generator().manual_seed(seed)
    channels = [(7, 40, 33, 5), (1, 1, 1, 1), (16, 64, 32, 80), (3, 17, 16, 31), (64, 96, 20, 2)][seed % 5]
    synthesis = random_synthesis(seed, channels)
    for size in ((1, 1), (1, 6), (2, 1), (5, 7), (13, 4)):
        pixels = same(synthesis, latents(generator, 2, channels[0], *size))
        assert pixels.shape == (2, 3, 8 * size[0], 8 * size[1])


def test_tall_and_wide_pictures_go_in_bands_and_groups():
    generator = torch.Generator().manual_seed(0)
    synthesis = random_synthesis(3, (5, 18, 9, 6))
    same(synthesis, latents(generator, 1, 5, 41, 3))
    same(synthesis, latents(generator, 1, 5, 3, 217))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2.0**31, -3e38, 2048.0, 0.003, 0.5 / 256])
def test_hostile_latents_saturate(value):
    generator = torch.Generator().manual_seed(0)
    synthesis = random_synthesis(4)
    y_hat = latents(generator, 1, 7, 5, 6)
    y_hat[0, 3, 2, 4] = value
    same(synthesis, y_hat)
    same(synthesis, torch.full_like(y_hat, value))
    signs = torch.randint(0, 2, y_hat.shape, generator=generator) * 2 - 1
    same(synthesis, signs * value)


@pytest.mark.parametrize("sign", [-1, 1])
def test_sums_at_their_limits(sign):
    synthesis = synthesis_at_its_limits(sign)
    for magnitude in (32.0, -32.0, 31.5):
        same(synthesis, torch.full((1, 5, 4, 5), magnitude))


def test_strides_threads_and_batches_do_not_matter():
    synthesis = random_synthesis(5)
    y_hat = latents(torch.Generator().manual_seed(2), 3, 7, 21, 30)
    qualities = (1.0, 2.5, 3.0)
    expected = synthesis(y_hat, qualities)
    assert torch.equal(synthesis(y_hat.contiguous(memory_format=torch.channels_last), qualities), expected)
    assert torch.equal(synthesis(torch.stack([y_hat, y_hat], -1)[..., 0], qualities), expected)
    for number, quality in enumerate(qualities):
        assert torch.equal(synthesis(y_hat[number : number + 1], (quality,)), expected[number : number + 1])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert torch.equal(synthesis(y_hat, qualities), expected)
            assert torch.equal(synthesis(y_hat[1:2], qualities[1:2]), expected[1:2])
    finally:
        torch.set_num_threads(before)
    assert synthesis(y_hat[:0], ()).shape == (0, 3, 8 * 21, 8 * 30)


def test_syntheses_are_shared_by_threads():
    synthesis = random_synthesis(6)
    y_hat = latents(torch.Generator().manual_seed(2), 1, 7, 9, 8)
    expected = synthesis(y_hat, (1.0,))
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(result, expected) for result in pool.map(lambda _: synthesis(y_hat, (1.0,)), range(16)))


def test_the_public_call_runs_natively(monkeypatch):
    synthesis = random_synthesis(7)
    y_hat = latents(torch.Generator().manual_seed(2), 1, 7, 3, 3)
    expected = synthesis.reference(y_hat, synthesis.gains[:1])
    monkeypatch.setattr(IntegerSynthesis, "reference", None)
    assert torch.equal(synthesis(y_hat, (1.0,)), expected)


def test_wrong_arguments_are_named():
    synthesis = random_synthesis(8)
    packed = _integer_native.pack(synthesis.largest, synthesis.layers)
    y_hat = latents(torch.Generator(), 1, 6, 2, 2)
    with pytest.raises(ValueError, match="`channels` must be 7, got 6"):
        _integer_native.run(packed, y_hat, synthesis.gains[:1], 8)
    with pytest.raises(ValueError, match="`variant` must lie between"):
        _integer_native.run(packed, latents(torch.Generator(), 1, 7, 2, 2), synthesis.gains[:1], 8, 99)
    with pytest.raises(ValueError, match="`inputs of a layer` must be 40, got 5"):
        _integer_native.pack(synthesis.largest, [synthesis.layers[0], synthesis.layers[-1]])
