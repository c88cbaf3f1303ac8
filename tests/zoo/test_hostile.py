"""`compress` is bounded: nothing that is unlike a photograph falls apart, and photographs get no residual."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hostile_pictures import hostile_pictures

import pylatent
from pylatent.coding.container import LatFile

PICTURES = hostile_pictures()
LOWEST = 20.0  # dB
PHOTOS = Path(__file__).parents[2] / "examples" / "photos"


def psnr(a, b):
    return 10 * np.log10(255**2 / max(1e-3, np.square(a.astype(float) - b.astype(float)).mean()))


@pytest.mark.parametrize("name", PICTURES)
def test_no_picture_falls_apart(name):
    pixels = PICTURES[name]
    for quality in (1, 4, 8):
        data = pylatent.compress(torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), quality=quality)
        decoded = np.asarray(pylatent.decompress(data))
        reached = psnr(pixels, decoded)
        assert decoded.shape == pixels.shape
        assert reached >= LOWEST, f"{reached:.1f} dB in {len(data)} bytes at quality {quality}"
        assert len(data) < 3 * max(pixels.shape[0] * pixels.shape[1], 640), "a file larger than its pixels"


@pytest.mark.parametrize("name", ["skyline", "leaves"])
def test_photographs_get_none(name):
    path = PHOTOS / f"{name}.png"
    assert LatFile.from_bytes(pylatent.compress(path)).stream.residual is None


def test_a_size_that_is_asked_for_is_kept():
    pixels = torch.from_numpy(PICTURES["checkerboard 1"]).permute(2, 0, 1).contiguous()
    data = pylatent.compress(pixels, target_bpp=0.3)
    assert LatFile.from_bytes(data).stream.residual is None
    assert 8 * len(data) <= 0.3 * pixels[0].numel()
