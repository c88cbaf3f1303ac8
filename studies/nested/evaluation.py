"""Evaluation for the ablation of nested codecs: real files of the Kodak pictures, by level, and times against L."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from harness import take_turns
from torch import Tensor

from pylatent import images
from pylatent.codecs import Bitstream, Latents, MeanScaleHyperprior, NestedCodec
from pylatent.coding.container import HASH_BYTES, LatFile
from pylatent.entropy.gaussian import gaussian_bits
from pylatent.evaluation import psnr
from pylatent.evaluation.measure import same_latents
from pylatent.train.data import find_images

QUALITIES = (1.0, 3.0, 5.0, 7.0)


class TestSet:
    """Pictures, and y of each at each quality, which is the same for all settings."""

    @torch.no_grad()
    def __init__(self, base: MeanScaleHyperprior, folder: Path) -> None:
        self.pictures = {path.name: images.read(path).tensor for path in find_images(folder)}
        self.latents = {
            (name, quality): base.analyze(picture[None].float() / 255, quality)
            for name, picture in self.pictures.items()
            for quality in QUALITIES
        }

    @torch.no_grad()
    def measure(self, codec: NestedCodec) -> list[dict[str, Any]]:
        """One row a picture and quality. Raises RuntimeError if a file does not decode to what was encoded."""
        rows = []
        for (name, quality), shared in self.latents.items():
            latents = Latents(codec.levels_above(shared.levels[0]), shared.size, shared.quality)
            (stream,) = codec.encode(latents)
            data = LatFile(codec.name, codec.fingerprint()[:HASH_BYTES], stream).to_bytes()
            decoded = codec.decode([LatFile.from_bytes(data).stream])
            if not same_latents(decoded, codec.as_coded(latents)):
                raise RuntimeError(f"{name} at quality {quality:g} does not decode to what was encoded")
            x_hat = codec.synthesize(decoded)[0].mul(255).round().to(torch.uint8)
            rows.append(
                {
                    "picture": name,
                    "quality": quality,
                    "bytes": len(data),
                    "level_bytes": [len(section) for section in reversed(stream.sections)],
                    "estimated_bytes": estimated_bits(codec, decoded) / 8,
                    "bpp": 8 * len(data) / (shared.size[0] * shared.size[1]),
                    "psnr": psnr(x_hat, self.pictures[name]),
                }
            )
        return rows


def estimated_bits(codec: NestedCodec, coded: Latents) -> float:
    """What the densities say that quantised latents cost."""
    assert coded.means is not None
    assert coded.scales is not None
    total = 0.0
    for step in codec.steps:
        hat, mean, scale = (of[step.level] for of in (coded.levels, coded.means, coded.scales))
        bits = codec.prior.bits(hat - mean) if scale is None else gaussian_bits(hat - mean, scale)
        total += float(bits.sum())
    return total


@torch.no_grad()
def times(codecs: Mapping[int, NestedCodec], picture: Tensor, quality: float, rounds: int) -> list[dict[str, Any]]:
    """Seconds of processor time on one thread, by number of levels; the codecs take turns.

    encode: pixels to stream; decode: stream to latents; decompress: stream to pixels.
    """
    x = picture[None].float() / 255
    streams: dict[int, list[Bitstream]] = {levels: codec.compress(x, quality) for levels, codec in codecs.items()}
    verbs = {
        "encode": {str(n): lambda codec=codec: codec.compress(x, quality) for n, codec in codecs.items()},
        "decode": {str(n): lambda n=n, codec=codec: codec.decode(streams[n]) for n, codec in codecs.items()},
        "decompress": {str(n): lambda n=n, codec=codec: codec.decompress(streams[n]) for n, codec in codecs.items()},
    }
    seconds = {verb: take_turns(calls, rounds) for verb, calls in verbs.items()}
    return [
        {
            "levels": n,
            "parameters": sum(p.numel() for p in codec.parameters()),
            "entropy_parameters": sum(p.numel() for name, p in codec.named_parameters() if not name.startswith("g")),
            **{verb: seconds[verb][str(n)] for verb in verbs},
        }
        for n, codec in codecs.items()
    ]


@torch.no_grad()
def autoregressive(picture: Tensor) -> dict[str, Any]:
    """CompressAI's mbt2018 (quality 3), untrained: its loop over positions does not depend on the weights.

    Seconds of processor time, the shorter of two calls.
    """
    from compressai.zoo import mbt2018

    codec = mbt2018(quality=3, pretrained=False).eval()
    codec.update()
    x = picture[None].float() / 255
    coded = codec.compress(x)
    seconds = []
    for _ in range(2):
        start = time.process_time()
        codec.decompress(coded["strings"], coded["shape"])
        seconds.append(time.process_time() - start)
    return {"name": "mbt2018, quality 3", "size": list(x.shape[2:]), "decompress": min(seconds)}
