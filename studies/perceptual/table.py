"""Rate, distortion and perception of a model on a folder of pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from pylatent.codecs import Codec
from pylatent.evaluation import ms_ssim, psnr
from pylatent.evaluation.lpips import LPIPS

Row = dict[str, float]


@torch.no_grad()
def measure(codec: Codec, pictures: list[Tensor], metrics: list[LPIPS], qualities: tuple[float, ...]) -> list[Row]:
    """Means over the pictures, uint8 (3, H, W), a row a quality; bits are estimated by the float networks."""
    names = ("bpp", "psnr", "ms_ssim", *(each.net for each in metrics))
    totals = {quality: dict.fromkeys(names, 0.0) for quality in qualities}
    for picture in pictures:
        x = picture[None].float() / 255
        originals = [metric.describe(x) for metric in metrics]
        for quality, total in totals.items():
            output = codec(x, quality)
            shown = output.x_hat[0].mul(255).round().to(torch.uint8)
            total["bpp"] += float(output.bpp) / len(pictures)
            total["psnr"] += psnr(shown, picture) / len(pictures)
            total["ms_ssim"] += ms_ssim(shown, picture) / len(pictures)
            for metric, original in zip(metrics, originals, strict=True):
                described = metric.describe(shown[None].float() / 255)
                total[metric.net] += float(metric.distance(original, described)) / len(pictures)
    return [
        {"quality": quality, **{name: round(value, 5) for name, value in total.items()}}
        for quality, total in totals.items()
    ]
