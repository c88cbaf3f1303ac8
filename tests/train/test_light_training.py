"""A light receiver for a trained codec: it learns the full synthesis's pixels; its integers are what was trained."""

import dataclasses

import numpy as np
import pytest
import torch
from small_codec import make_residual, picture
from torch import nn

from pylatent.codecs.receivers import products_a_pixel
from pylatent.errors import ModelError
from pylatent.evaluation import psnr
from pylatent.layers.residual import ClippedResidualBlock
from pylatent.train import light as light_training
from pylatent.train.light import (
    LightRecipe,
    LightTrainer,
    decibels_lost,
    examples,
    give_light,
    light_network,
)
from pylatent.train.light_start import Sample, start_from_full

RECIPE = LightRecipe(widths=(5, 4), qualities=2, crop=6, batch=2, steps=40, learning_rate=3e-3)


@pytest.fixture(scope="module")
def pictures():
    return [(255 * picture(100, 130, seed=seed)[0]).to(torch.uint8) for seed in range(3)]


@pytest.fixture(scope="module")
def codec(pictures):
    codec = make_residual()
    codec.calibrate(picture[None].float() / 255 for picture in pictures)
    return codec


@pytest.fixture(scope="module")
def data(codec, pictures):
    return list(examples(codec, pictures, RECIPE))


def test_examples_are_what_the_codec_decodes(codec, pictures, data):
    assert len(data) == 2 * len(pictures)
    assert all(1 <= each.quality <= 3 and (64 * each.quality) % 1 == 0 for each in data)
    first = data[0]
    assert torch.equal(first.original, pictures[0][:, :96, :128])
    stream = codec.encode(codec.analyze(first.original[None].float() / 255, first.quality))
    assert torch.equal(first.full, codec.decompress_bytes(stream)[0])
    difference = first.full.double() - first.original.double()
    assert first.left == pytest.approx(float(difference.square().mean()) / 255**2, rel=1e-5)
    with torch.no_grad():
        rest = codec.g_s[RECIPE.shared :](first.features[None].float()).clamp(0, 1)[0]
    torch.testing.assert_close(rest, first.full.float() / 255, rtol=0, atol=4 / 255)


def test_training_brings_it_near_the_full_synthesis(codec, data):
    def missed(steps):
        recipe = dataclasses.replace(RECIPE, steps=steps, distil=1.0)
        light = give_light(codec, LightTrainer(codec, data, recipe).run(), data, recipe)
        assert light.shared == 3
        total = 0.0
        for each in data:
            stream = codec.compress(each.original[None].float() / 255, each.quality)
            shown = codec.decompress_bytes(stream, receiver="light")[0]
            total += float((shown.float() - each.full.float()).square().mean())
        return total

    before, after = missed(1), missed(400)
    assert after < 0.85 * before, (before, after)


def test_decibels_are_counted_against_the_originals(codec, pictures, data):
    light = give_light(codec, LightTrainer(codec, data, RECIPE).run(), data, RECIPE)
    lost = decibels_lost(codec, pictures, (1.0, 2.5))
    assert lost.keys() == {1.0, 2.5}
    total = 0.0
    for each in pictures:
        decoded = codec.decode(codec.encode(codec.analyze(each[None].float() / 255, 2.5)))
        full = codec.synthesize_bytes(decoded)[0]
        shown = light.synthesis(decoded.y, (2.5,))[0, :, :100, :130]
        total += psnr(full, each) - psnr(shown, each)
    assert lost[2.5] == pytest.approx(total / 3)


def test_weights_have_8_bits_and_the_integers_are_these(codec, data):
    network = LightTrainer(codec, data, RECIPE).run()
    light = give_light(codec, network, data, RECIPE)
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(light.layers) == len(convolutions) == 5
    for layer, convolution in zip(light.layers, convolutions, strict=True):
        weight = convolution.weight.detach()
        scale = weight.abs().amax((1, 2, 3), keepdim=True) / 127
        assert torch.equal(layer.weight.float(), (weight / scale).round())
        assert int(layer.weight.abs().max()) == 127
    with torch.no_grad():
        shown = network(data[0].features[None].float()).clamp(0, 1)[0]
    stream = codec.encode(codec.analyze(data[0].original[None].float() / 255, data[0].quality))
    pixels = codec.decompress_bytes(stream, receiver="light")[0].float() / 255
    torch.testing.assert_close(pixels, shown, rtol=0, atol=4 / 255)


def test_crops_are_judged_up_to_the_borders_of_the_picture(data):
    generator, seen = np.random.default_rng(0), set()
    for _ in range(800):
        crop, judged = light_training._crop(data[:1], 4, generator)
        top, left = next(
            (y, x)
            for y in range(3)
            for x in range(5)
            if torch.equal(data[0].features[:, y : y + 4, x : x + 4], crop.features)
        )
        expected = torch.zeros(64, 64)
        expected[0 if top == 0 else 16 : 64 if top == 2 else 48, 0 if left == 0 else 16 : 64 if left == 4 else 48] = 1
        assert torch.equal((judged[0] > 0).float(), expected)
        assert float(judged.mean()) == pytest.approx(1)
        assert torch.equal(crop.full, data[0].full[:, 16 * top : 16 * top + 64, 16 * left : 16 * left + 64])
        seen.add((top, left))
    assert len(seen) == 15


def test_a_run_that_was_cut_resumes(codec, data, tmp_path):
    path = tmp_path / "run.pt"
    half = LightTrainer(codec, data, dataclasses.replace(RECIPE, steps=3), path)
    half.run()
    resumed = LightTrainer(codec, data, dataclasses.replace(RECIPE, steps=5), path)
    assert (resumed.step, resumed.elapsed > 0) == (3, True)
    assert torch.equal(resumed.network[0].weight, half.network[0].weight)
    resumed.run()
    assert resumed.step == 5


@torch.no_grad()
def test_where_nothing_is_left_out_it_starts_as_the_full_synthesis():
    torch.manual_seed(0)
    recipe = LightRecipe(widths=(40, 6), limit=1e4)
    front = nn.Conv2d(10, 32, 1), nn.PixelShuffle(2), nn.Conv2d(8, 24, 1), nn.PixelShuffle(2)
    full = nn.Sequential(*front, ClippedResidualBlock(6, 1e4), nn.Conv2d(6, 48, 3, padding=1), nn.PixelShuffle(4))
    full[4].conv2.weight.mul_(20)
    values = [torch.randn(1, 10, 9, 11) for _ in range(3)]
    network = light_network(10, recipe)
    start_from_full(network, list(full), [Sample(each, full(each), 1.0) for each in values])
    for each in values:
        torch.testing.assert_close(network(each), full(each), rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_it_starts_nearer_than_at_random(codec, data):
    def missed(network):
        return sum(float((network(each.features) - each.pixels).square().mean()) for each in samples)

    rest = list(codec.g_s)[3:]
    values = [each.features[None].float() for each in data]
    samples = [Sample(each, nn.Sequential(*rest)(each), 1.0) for each in values]
    network = light_network(10, LightRecipe(widths=(5, 4)))
    before = missed(network)
    start_from_full(network, rest, samples)
    assert missed(network) < 0.3 * before


def test_what_cannot_be_trained(codec, data):
    with pytest.raises(ValueError, match="no picture has 20 x 20 latents"):
        LightTrainer(codec, data, dataclasses.replace(RECIPE, crop=20)).run()
    with pytest.raises(ValueError, match="at most 6 at 1/4 of the sides, as the full synthesis, got 7"):
        LightTrainer(codec, data, dataclasses.replace(RECIPE, widths=(9, 7)))
    with pytest.raises(ModelError, match="call `calibrate` before"):
        give_light(make_residual(), light_network(10, RECIPE), data, RECIPE)


def test_products_are_counted_per_pixel(codec, data):
    light = give_light(codec, LightTrainer(codec, data, RECIPE).run(), data, RECIPE)
    shared = (12 * 10 * 9 + 2 * 10 * 10 * 9) / 256
    own = 10 * 20 / 256 + 5 * 16 / 64 + (2 * 4 * 4 * 9 + 4 * 48 * 9) / 16
    assert products_a_pixel(light.synthesis) == pytest.approx(shared + own)
