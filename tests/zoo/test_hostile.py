"""The default model is bounded: nothing that is unlike a photograph is coded much worse than JPEG codes it."""

import io

import numpy as np
import pytest
import torch
from hostile_pictures import hostile_pictures
from PIL import Image

import pylatent

PICTURES = hostile_pictures()
LOWEST = 20.0  # dB
# At most a quarter of the values that pixels have pass through the model: patterns this fine do not, and JPEG, whose
# blocks of 8 x 8 they fill evenly, is far better at them. Who mends one takes it off the list.
FALL_APART = {f"checkerboard {size}" for size in (1, 2, 4, 8)}


def psnr(a, b):
    return 10 * np.log10(255**2 / max(1e-3, np.square(a.astype(float) - b.astype(float)).mean()))


def jpeg_of_size(pixels, size):
    """PSNR of the best JPEG that is no larger, of the smallest one if none is."""
    best = None
    for quality in (95, 85, 75, 60, 45, 30, 20, 10, 5, 1):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality, optimize=True)
        best = psnr(pixels, np.asarray(Image.open(file)))
        if file.tell() <= size:
            break
    return best


@pytest.mark.parametrize("name", PICTURES)
def test_no_picture_falls_apart(name):
    pixels = PICTURES[name]
    for quality in (1, 4, 8):
        data = pylatent.compress(torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), quality=quality)
        decoded = np.asarray(pylatent.decompress(data))
        reached = psnr(pixels, decoded)
        assert decoded.shape == pixels.shape
        if quality == 4 and name in FALL_APART:
            assert reached < LOWEST
        elif quality == 4 and reached < LOWEST:
            assert jpeg_of_size(pixels, len(data)) < LOWEST, f"{reached:.1f} dB in {len(data)} bytes"
        assert len(data) < 3 * max(pixels.shape[0] * pixels.shape[1], 512), "a file larger than its pixels"
