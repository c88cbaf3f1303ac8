"""A light receiver for a trained codec: it learns the full synthesis's pixels; its integers are what was trained."""

import dataclasses

import pytest
import torch
from small_codec import make_residual, picture

from pylatent.codecs.light import products_a_pixel
from pylatent.errors import ModelError
from pylatent.evaluation import psnr
from pylatent.train.light import (
    LightRecipe,
    LightTrainer,
    decibels_lost,
    examples,
    give_light,
    light_network,
)

RECIPE = LightRecipe(widths=(8, 6), qualities=2, crop=6, batch=2, steps=40, learning_rate=3e-3)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks as small as these are slowed down by a second one where others use the processor."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
    stream = codec.compress(first.original[None].float() / 255, first.quality)
    assert torch.equal(first.full, codec.decompress_bytes(stream)[0])
    difference = first.full.double() - first.original.double()
    assert first.left == pytest.approx(float(difference.square().mean()) / 255**2, rel=1e-5)
    with torch.no_grad():
        rest = codec.g_s[RECIPE.shared :](first.features[None].float()).clamp(0, 1)[0]
    torch.testing.assert_close(rest, first.full.float() / 255, rtol=0, atol=4 / 255)


def test_training_brings_it_near_the_full_synthesis(codec, data):
    def missed(steps):
        recipe = dataclasses.replace(RECIPE, steps=steps, distil=1.0)
        light = give_light(codec, LightTrainer(10, recipe).run(data), data, recipe)
        assert light.shared == 3
        total = 0.0
        for each in data:
            stream = codec.compress(each.original[None].float() / 255, each.quality)
            shown = codec.decompress_bytes(stream, receiver="light")[0]
            total += float((shown.float() - each.full.float()).square().mean())
        return total

    before, after = missed(1), missed(300)
    assert after < 0.5 * before, (before, after)


def test_decibels_are_counted_against_the_originals(codec, pictures, data):
    light = give_light(codec, LightTrainer(10, RECIPE).run(data), data, RECIPE)
    lost = decibels_lost(codec, pictures, (1.0, 2.5))
    assert lost.keys() == {1.0, 2.5}
    total = 0.0
    for each in pictures:
        decoded = codec.decode(codec.compress(each[None].float() / 255, 2.5))
        full = codec.synthesize_bytes(decoded)[0]
        shown = light.synthesis(decoded.y, (2.5,))[0, :, :100, :130]
        total += psnr(full, each) - psnr(shown, each)
    assert lost[2.5] == pytest.approx(total / 3)


def test_weights_have_8_bits_and_the_integers_are_these(codec, data):
    network = LightTrainer(10, RECIPE).run(data)
    light = give_light(codec, network, data, RECIPE)
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(light.layers) == len(convolutions) == 7
    for layer, convolution in zip(light.layers, convolutions, strict=True):
        weight = convolution.weight.detach()
        scale = weight.abs().amax((1, 2, 3), keepdim=True) / 127
        assert torch.equal(layer.weight.float(), (weight / scale).round())
        assert int(layer.weight.abs().max()) == 127
    with torch.no_grad():
        shown = network(data[0].features[None].float()).clamp(0, 1)[0]
    stream = codec.compress(data[0].original[None].float() / 255, data[0].quality)
    pixels = codec.decompress_bytes(stream, receiver="light")[0].float() / 255
    torch.testing.assert_close(pixels, shown, rtol=0, atol=4 / 255)


def test_a_run_that_was_cut_resumes(data, tmp_path):
    path = tmp_path / "run.pt"
    half = LightTrainer(10, dataclasses.replace(RECIPE, steps=3), path)
    half.run(data)
    resumed = LightTrainer(10, dataclasses.replace(RECIPE, steps=5), path)
    assert (resumed.step, resumed.elapsed > 0) == (3, True)
    assert torch.equal(resumed.network[0].weight, half.network[0].weight)
    resumed.run(data)
    assert resumed.step == 5


def test_networks_that_go_to_pixels_at_once_and_their_costs():
    network = light_network(10, LightRecipe(widths=(8, 0), blocks=(1, 0)))
    assert network(torch.zeros(1, 10, 2, 3)).shape == (1, 3, 32, 48)


def test_what_cannot_be_trained(data):
    with pytest.raises(ValueError, match="no picture has 20 x 20 latents"):
        LightTrainer(10, dataclasses.replace(RECIPE, crop=20)).run(data)
    with pytest.raises(ModelError, match="call `calibrate` before"):
        give_light(make_residual(), light_network(10, RECIPE), data, RECIPE)


def test_products_are_counted_per_pixel(codec, data):
    light = give_light(codec, LightTrainer(10, RECIPE).run(data), data, RECIPE)
    shared = (12 * 10 * 9 + 2 * 10 * 10 * 9) / 256
    own = 10 * 32 / 256 + (2 * 8 * 8 * 9 + 8 * 24) / 64 + (2 * 6 * 6 * 9 + 6 * 48 * 9) / 16
    assert products_a_pixel(light.synthesis) == pytest.approx(shared + own)
