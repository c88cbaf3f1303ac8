"""The shipped models and CompressAI's mbt2018-mean at its published size: whole calls and their parts, in one run.

    python benchmarks/bench_models.py [--models default-2 default-1] [--rounds 5] [-o RESULT.json]

Needs compressai. One picture at a time from 8-bit pixels in memory to the bytes of a file and back, 768x512 and
1920x1080, one thread, seconds of processor time; the sides take turns. CompressAI's model has N=128 and M=192; its
weights are default-1's, widened by channels that stay zero, so that its coder meets a photograph's symbols and its
convolutions have their full width. The parts are those of our codecs: analyze, encode, decode, and synthesis to pixels.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bench_codec import SIZES, CompressAI, picture
from harness import environment, take_turns, write_json
from torch import Tensor

import pylatent
from pylatent.codecs import Codec

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    from compressai.models import MeanScaleHyperprior

N, M = 128, 192
THEIRS = "CompressAI mbt2018-mean, N=128, M=192"


def widened(quality: int) -> MeanScaleHyperprior:
    """CompressAI's model of the published size that does to a picture what default-1 does at `quality`."""
    source = pylatent.load("default-1")
    weights = dict(source.float_state())
    gain, inverse = weights.pop("gain")[quality - 1], weights.pop("inverse_gain")[quality - 1]
    weights["g_a.6.weight"] = weights["g_a.6.weight"] * gain.view(-1, 1, 1, 1)
    weights["g_a.6.bias"] = weights["g_a.6.bias"] * gain
    weights["g_s.0.weight"] = weights["g_s.0.weight"] * inverse.view(-1, 1, 1, 1)
    # The last layer of h_s gives the scales of all channels, and after them the means.
    for name in ("h_s.4.weight", "h_s.4.bias"):
        halves = [_padded(half, M) for half in weights[name].chunk(2)]
        weights[name] = torch.cat(halves)
    theirs = MeanScaleHyperprior(N, M).eval()
    state = theirs.state_dict()
    for name, weight in weights.items():
        target = state[name]
        if target.shape == weight.shape:
            target.copy_(weight)
        elif target.numel():
            keep = (
                target.clone()
                if name.startswith("entropy_bottleneck.") or ".beta" in name
                else torch.zeros_like(target)
            )
            keep[tuple(slice(length) for length in weight.shape)] = weight
            target.copy_(keep)
    theirs.load_state_dict(state)
    theirs.update(force=True)
    return theirs


def _padded(weight: Tensor, channels: int) -> Tensor:
    return torch.cat([weight, weight.new_zeros(channels - len(weight), *weight.shape[1:])])


def to_bytes(codec: Codec, pixels: Tensor, quality: float) -> bytes:
    return codec.compress(pixels.float().div(255), quality)[0].to_record()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=["default-2", "default-1"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    theirs = CompressAI(widened(4))
    rows = []
    found = environment("compressai", "numpy")
    print(", ".join(f"{key} {value}" for key, value in found.items()))
    for size, (height, width) in SIZES.items():
        x = picture(height, width)
        jobs: dict[str, dict[str, Callable[[], Any]]] = {part: {} for part in PARTS}
        coded = theirs.compress(x)
        jobs["compress"][THEIRS] = partial(theirs.compress, x)
        jobs["decompress"][THEIRS] = partial(theirs.decompress, coded)
        facts = {THEIRS: {"bytes": theirs.nbytes(coded), "psnr": psnr_of(theirs.decompress(coded), x)}}
        for name in options.models:
            codec = pylatent.load(name)
            latents = codec.analyze(x, 4.0)
            streams = codec.encode(latents)
            decoded = codec.decode(streams)
            jobs["compress"][name] = partial(codec.compress, x, 4.0)
            jobs["decompress"][name] = partial(codec.decompress_bytes, streams)
            jobs["analyze"][name] = partial(codec.analyze, x, 4.0, integers=True)
            jobs["analyze in float32"][name] = partial(codec.analyze, x, 4.0)
            jobs["encode"][name] = partial(codec.encode, latents)
            jobs["decode"][name] = partial(codec.decode, streams)
            jobs["synthesis"][name] = partial(codec.synthesize_bytes, decoded)
            facts[name] = {
                "bytes": len(streams[0].to_record()),
                "psnr": psnr_of(codec.decompress_bytes(streams).float().div(255), x),
            }
        print(f"{size}: " + ", ".join(f"{who} {a['bytes']} bytes {a['psnr']:.2f} dB" for who, a in facts.items()))
        for part, sides in jobs.items():
            seconds = take_turns(sides, options.rounds)
            rows.append({"size": size, "part": part, "seconds": seconds, "facts": facts})
            for who, taken in seconds.items():
                print(f"{size:>9}  {part:10}  {who:40} {1e3 * taken:8.1f} ms")
    write_json(options.output, {"environment": found, "quality": 4, "rows": rows})


PARTS = ("compress", "decompress", "analyze", "analyze in float32", "encode", "decode", "synthesis")


def psnr_of(x_hat: Tensor, x: Tensor) -> float:
    return pylatent.evaluation.psnr(x_hat[0], x[0])


if __name__ == "__main__":
    with torch.no_grad():
        main()
