"""What an integer analysis costs: BD-rate of files made with it against files made with the float network's latents.

    python benchmarks/integer_analysis.py FOLDER [--model default-2] [--qualities 1 2 4 6 8] [-o RESULT.json]

Bits are of whole streams, PSNR is of the decoded 8-bit pictures. Seconds are of processor time, of `analyze` on one
thread, both sides in turn.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from harness import environment, write_json
from torch import Tensor

import pylatent
from pylatent import images
from pylatent.codecs import Codec
from pylatent.evaluation import bd_rate, psnr
from pylatent.train.data import find_images


def point(codec: Codec, picture: Tensor, quality: float, integers: bool) -> tuple[tuple[float, float], float]:
    """((bits per pixel, PSNR), seconds of the analysis)."""
    x = picture[None].float().div(255)
    start = time.process_time()
    latents = codec.analyze(x, quality, integers=integers)
    seconds = time.process_time() - start
    streams = codec.encode(latents)
    bits = 8 * sum(len(section) for section in streams[0].sections) / picture[0].numel()
    return (bits, psnr(codec.decompress_bytes(streams)[0], picture)), seconds


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="default-2")
    parser.add_argument("--qualities", type=float, nargs="+", default=[1.0, 2.0, 4.0, 6.0, 8.0])
    parser.add_argument("--every", type=int, default=1, help="take every n-th picture")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    codec = pylatent.load(options.model)
    costs: dict[str, float] = {}
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for path in find_images(options.folder)[:: options.every]:
        picture = images.read(path).tensor
        curves: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for quality in options.qualities:
            for integers in (False, True):
                one, taken = point(codec, picture, quality, integers)
                curves[integers].append(one)
                seconds[integers].append(taken)
        costs[path.name] = bd_rate(curves[True], curves[False])
        print(f"{path.name}: {costs[path.name]:+.3f} %", flush=True)
    mean, middle = (
        sum(costs.values()) / len(costs),
        {side: sorted(all_)[len(all_) // 2] for side, all_ in seconds.items()},
    )
    print(f"BD-rate {mean:+.3f} %; analyze takes {middle[False] / middle[True]:.2f} times as long in float32")
    result: dict[str, Any] = {
        "environment": environment(),
        "model": codec.name,
        "qualities": options.qualities,
        "bd_rate_percent": {**costs, "mean": mean},
        "seconds": {"float32": middle[False], "integers": middle[True]},
    }
    write_json(options.output, result)


if __name__ == "__main__":
    main()
