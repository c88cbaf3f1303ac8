"""Pillow's JPEG and WebP as baselines: real files, readable by Pillow, sizes as asked."""

import io

import pytest
import torch
from PIL import Image

from pylatent.evaluation import AVIF, JPEG, WEBP, psnr


@pytest.fixture(scope="module")
def picture():
    y, x = torch.meshgrid(torch.arange(90), torch.arange(121), indexing="ij")
    wave = 127 + 60 * torch.sin(x / 9.0) + 50 * torch.cos(y / 5.0 + x / 30.0)
    return torch.stack([wave, wave.flip(0), wave.roll(20, 1)]).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize(
    "codec", [each for each in (JPEG, WEBP, AVIF) if each.is_available], ids=lambda codec: codec.name
)
class TestClassical:
    def test_files_are_what_they_say(self, codec, picture):
        data = codec.compress(picture, 80)
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.size, image.mode) == (codec.pillow_format, (121, 90), "RGB")
        assert psnr(codec.decompress(data), picture) > 30

    def test_quality_costs_bytes(self, codec, picture):
        sizes = [len(codec.compress(picture, q)) for q in codec.qualities]
        assert sizes[0] < sizes[len(sizes) // 2] < sizes[-1]

    def test_at_least(self, codec, picture):
        wanted = len(codec.compress(picture, 50)) - 1
        data, quality = codec.at_least(picture, wanted)
        assert len(data) >= wanted
        assert len(codec.compress(picture, quality - 1)) < wanted
        assert codec.at_least(picture, 1)[1] == 1
        assert codec.at_least(picture, 10**9)[1] == 100

    def test_settings_are_stated(self, codec):
        for key, value in codec.settings:
            assert f"{key}={value}" in codec.describe()

    def test_rejects_other_pictures(self, codec, picture):
        with pytest.raises(ValueError, match=r"\(3, H, W\) uint8"):
            codec.compress(picture.float(), 50)


def test_jpeg_settings_save_bytes_and_keep_420(picture):
    plain = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(plain, "JPEG", quality=50)
    ours = JPEG.compress(picture, 50)
    assert len(ours) < len(plain.getvalue())
    assert torch.equal(JPEG.decompress(ours), JPEG.decompress(plain.getvalue()))
