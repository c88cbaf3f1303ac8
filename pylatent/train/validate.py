"""Rate and distortion of a codec in training, on the centres of validation pictures: estimated bits, PSNR, LPIPS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pylatent.codecs.base import Codec
from pylatent.evaluation.lpips import LPIPS
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
    codec: Codec, pictures: Sequence[Tensor], qualities: Sequence[float | None], metrics: Sequence[LPIPS] = ()
) -> list[dict[str, float | None]]:
    """Means over the pictures at each quality (None for a fixed rate): {"quality", "bpp", "psnr"}, and of metrics
    "lpips vgg" or "lpips alex"."""
    device = codec.device
    rows: list[dict[str, float | None]] = []
    for quality in qualities:
        bpp, psnr = 0.0, 0.0
        lpips = {f"lpips {metric.net}": 0.0 for metric in metrics}
        for picture in pictures:
            x = picture[None].to(device).float()
            output = codec(x / 255, quality)
            shown = torch.round(output.x_hat * 255)
            mse = (shown - x).pow(2).mean().clamp_min(1e-4)
            bpp += float(output.bpp) / len(pictures)
            psnr += float(10 * torch.log10(255**2 / mse)) / len(pictures)
            for metric in metrics:
                lpips[f"lpips {metric.net}"] += float(metric(x / 255, shown / 255)) / len(pictures)
        rows.append({"quality": None if quality is None else float(quality), "bpp": bpp, "psnr": psnr, **lpips})
    return rows
