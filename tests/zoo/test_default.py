"""The model that is shipped: what users get without asking for anything."""

from pathlib import Path

import pytest
import torch

import pylatent
from pylatent import images, rate_control, zoo
from pylatent.coding import LatFile
from pylatent.evaluation import psnr

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "leaves.png"


@pytest.fixture(scope="module")
def codec():
    return zoo.load("default")


@pytest.fixture(scope="module")
def photo():
    return images.read(PHOTO).tensor[None] / 255


def test_it_is_shipped_within_its_limit_and_has_a_card():
    info = next(model for model in zoo.models() if model.name == zoo.resolve("default"))
    assert info.shipped
    assert info.size <= 16 * 10**6
    assert {"data", "training", "hardware", "licence"} <= info.header.card.keys()


@pytest.mark.parametrize("size", [(1, 1), (17, 31), (64, 64), (4096, 33)], ids=lambda size: f"{size[0]}x{size[1]}")
@torch.no_grad()
def test_every_size_decodes_to_what_was_encoded(codec, photo, size):
    x = torch.nn.functional.interpolate(photo, size=size, mode="bilinear")
    latents = codec.analyze(x, 5)
    decoded, expected = codec.decode(codec.encode(latents)), codec.as_coded(latents)
    assert all(torch.equal(a, b) for a, b in zip(decoded.levels, expected.levels, strict=True))
    assert codec.synthesize(decoded).shape == (1, 3, *size)


@pytest.mark.parametrize("quality", [1, 4, 8])
@torch.no_grad()
def test_sections_are_as_long_as_the_estimate(codec, photo, quality):
    stream = codec.compress(photo, quality)[0]
    estimate = sum(float(bits) for bits in codec(photo, float(quality)).bits) / 8
    assert sum(map(len, stream.sections)) == pytest.approx(estimate, rel=0.005, abs=60)


@torch.no_grad()
def test_quality_raises_rate_and_psnr(codec, photo):
    original = photo[0].mul(255).round().byte()
    points = []
    for quality in (1, 2.5, 4, 6, 8):
        stream = codec.compress(photo, quality)
        pixels = codec.decompress(stream)[0].mul(255).round().byte()
        points.append((sum(map(len, stream[0].sections)), psnr(pixels, original)))
    assert points == sorted(points)
    assert points[0][1] > 28
    assert points[-1][1] > points[0][1] + 5


def test_a_high_target_is_a_lower_quality_with_a_residual(photo, monkeypatch):
    """The model's own quality of so many dB is larger."""
    crop = photo[0, :, 100:260, 100:340].mul(255).round().byte()
    data = pylatent.compress(crop, target_psnr=34)
    stream = LatFile.from_bytes(data).stream
    assert stream.residual is not None
    monkeypatch.setattr(rate_control, "BASES", ())
    alone = pylatent.compress(crop, target_psnr=34)
    assert LatFile.from_bytes(alone).stream.quality > stream.quality
    assert len(data) < 0.99 * len(alone)
    for file in (data, alone):
        assert psnr(pylatent.decompress(file, as_tensor=True), crop) >= 34
