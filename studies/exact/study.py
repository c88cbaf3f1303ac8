"""What making the parameter network exact costs: BD-rate of the integer network against the float one.

    python studies/exact/study.py CHECKPOINT FOLDER [-o results.json]

CHECKPOINT holds the float weights (a run's checkpoint.pt or a CompressAI state dict). Bits are ideal code lengths under
the scales of the tables, which both networks choose from; PSNR is of 8-bit pictures.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from pylatent import __version__, images
from pylatent.codecs.hyperprior import Hyperprior
from pylatent.codecs.latents import Latents
from pylatent.codecs.rounding import nearest
from pylatent.codecs.state_dicts import hyperprior_from_compressai
from pylatent.entropy.gaussian import default_scales, gaussian_bits
from pylatent.evaluation import bd_rate, psnr
from pylatent.train.checkpoint import read_checkpoint
from pylatent.train.data import find_images


def table_scale(scale: torch.Tensor) -> torch.Tensor:
    """The scale of the table that codes `scale`."""
    table = default_scales()
    return table[torch.bucketize(scale.contiguous(), table[:-1])]


def rate(codec: Hyperprior, latents: Latents) -> float:
    """Bits per pixel of quantised latents under their means and scales."""
    assert latents.means is not None
    assert latents.scales is not None
    (y, z), (mean, median), (scale, _) = latents.levels, latents.means, latents.scales
    assert mean is not None
    assert median is not None
    assert scale is not None
    bits = gaussian_bits(y - mean, scale).sum() + codec.entropy_bottleneck.bits(z - median).sum()
    return float(bits) / (latents.size[0] * latents.size[1])


@torch.no_grad()
def compare(
    codec: Hyperprior, x: torch.Tensor, quality: float | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """((bpp, PSNR) of the float network, the same of the exact one) for a uint8 picture (3, H, W)."""
    latents = codec.analyze(x[None] / 255, quality)
    walked = codec.quantize(latents, nearest).latents
    assert walked.scales is not None
    assert walked.scales[0] is not None
    scales = (table_scale(walked.scales[0]), None)
    points = []
    for quantized in (replace(walked, scales=scales), codec.as_coded(latents)):
        x_hat = torch.round(codec.synthesize(quantized)[0] * 255).to(torch.uint8)
        points.append((rate(codec, quantized), psnr(x_hat, x)))
    return points[0], points[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    state = read_checkpoint(arguments.checkpoint, torch.device("cpu")) or {}
    codec, tables = hyperprior_from_compressai(state.get("average", state))
    codec.update(tables)
    lowest, highest = codec.qualities or (1.0, 1.0)
    qualities = [lowest + i for i in range(int(highest - lowest) + 1)]
    costs = {}
    for path in find_images(arguments.folder):
        x = images.read(path).tensor
        pairs = [compare(codec, x, quality if codec.qualities else None) for quality in qualities]
        costs[path.name] = bd_rate([exact for _, exact in pairs], [reference for reference, _ in pairs])
        print(f"{path.name}: {costs[path.name]:+.4f} %", flush=True)
    mean = sum(costs.values()) / len(costs)
    print(f"mean BD-rate of the exact network against the float one: {mean:+.4f} %")
    if arguments.output is not None:
        versions = {"pylatent": __version__, "torch": torch.__version__}
        arguments.output.write_text(
            json.dumps({"bd_rate_percent": costs, "mean": mean, "versions": versions}, indent=1)
        )


if __name__ == "__main__":
    main()
