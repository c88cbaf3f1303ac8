"""Rate and distortion of a codec in training, on the centres of validation pictures: estimated bits, 8-bit PSNR."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pylatent.codecs.base import Codec
from pylatent.train.data import load_images


def load_centres(folder: Path, size: int) -> list[Tensor]:
    """uint8 (3, size, size) centre of every picture below `folder` that is large enough."""
    centres = []
    for image in load_images(folder, size):
        top, left = (image.shape[1] - size) // 2, (image.shape[2] - size) // 2
        centres.append(image[:, top : top + size, left : left + size].clone())
    return centres


@torch.no_grad()
def rate_distortion(
    codec: Codec, pictures: Sequence[Tensor], qualities: Sequence[float | None]
) -> list[dict[str, float | None]]:
    """Means over the pictures at each quality (None for a fixed rate): {"quality", "bpp", "psnr"}."""
    device = codec.device
    rows: list[dict[str, float | None]] = []
    for quality in qualities:
        bpp, psnr = 0.0, 0.0
        for picture in pictures:
            x = picture[None].to(device).float()
            output = codec(x / 255, quality)
            mse = (torch.round(output.x_hat * 255) - x).pow(2).mean().clamp_min(1e-4)
            bpp += float(output.bpp) / len(pictures)
            psnr += float(10 * torch.log10(255**2 / mse)) / len(pictures)
        rows.append({"quality": None if quality is None else float(quality), "bpp": bpp, "psnr": psnr})
    return rows
