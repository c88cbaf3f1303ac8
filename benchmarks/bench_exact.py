"""The exact parameter network: native kernels against its definition in float64, and what that makes of a codec.

    python benchmarks/bench_exact.py [--model default] [--rounds 7] [--threads 1 2] [-o RESULT.json]

Networks are run on the latents of the demo's photograph: parts of 224x224, one and 32 of them, the whole of 768x512,
and 2048x2048 by mirroring. "float64" is the definition, torch's convolutions; the other sides are the sets of kernels
that this machine has, with the fastest of which `codec.encode` and `codec.decode` are then compared to themselves
without native networks. Sides take turns; a figure is the median over the rounds, of processor time on one thread and
of time by the clock on more (which needs a quiet machine). Nothing is timed before all sides have given the same
integers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from harness import environment, take_turns, write_json
from torch import Tensor

import pylatent
from pylatent import images
from pylatent.codecs import _exact_native
from pylatent.codecs.chain import Chain
from pylatent.codecs.exact import to_grid

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "leaves.png"
CASES = {
    "224x224": (1, 224, 224),
    "32 of 224x224": (32, 224, 224),
    "768x512": (1, 512, 768),
    "2048x2048": (1, 2048, 2048),
}


def pictures(batch: int, height: int, width: int) -> Tensor:
    """(batch, 3, height, width) in [0, 1]: parts of the photograph, which is mirrored until it is large enough."""
    photo = images.read(PHOTO).tensor.float().div(255)
    for dim, length in ((1, height + batch - 1), (2, width + batch - 1)):
        period = torch.cat([photo, photo.flip(dim)], dim)
        photo = torch.cat([period] * (length // period.shape[dim] + 1), dim)
    return torch.stack([photo[:, i : i + height, i : i + width] for i in range(batch)])


@contextmanager
def without_kernels() -> Iterator[None]:
    with mock.patch.object(_exact_native, "why_not_native", return_value="switched off"):
        yield


def network_sides(codec: Chain, x: Tensor) -> dict[str, Callable[[], Any]]:
    """The definition and all kernels on the deepest step of `x`; ends the run if they do not agree."""
    link = codec.links[-1]
    network = codec._ready().networks[link.name]
    values = to_grid(codec.as_coded(codec.analyze(x)).levels[-1])
    size = codec.level_shapes((x.shape[2], x.shape[3]))[-2][1:]
    packed = _exact_native.pack(network.layers)

    def kernels(number: int) -> Tensor | None:
        return _exact_native.run(packed, values, size, torch.float32, number)

    sides: dict[str, Callable[[], Any]] = {"float64": lambda: network.reference(values)[..., : size[0], : size[1]]}
    for number, name in enumerate(_exact_native.variants()):
        if name not in ("scalar", "amx-model"):  # for processors without vectors, on which float64 is faster
            sides[name] = lambda number=number: kernels(number)
    expected = sides["float64"]().float()
    for name, side in sides.items():
        if not torch.equal(side().float(), expected):
            raise SystemExit(f"{name} does not give the integers of the definition: nothing to measure")
    return sides


def codec_sides(codec: Chain, x: Tensor) -> dict[str, dict[str, Callable[[], Any]]]:
    """encode and decode with and without native networks; ends the run if they do not agree."""
    latents = codec.analyze(x)
    streams = codec.encode(latents)

    def definition(call: Callable[[], Any]) -> Any:
        with without_kernels():
            return call()

    verbs: dict[str, Callable[[], Any]] = {
        "encode": lambda: codec.encode(latents),
        "decode": lambda: codec.decode(streams),
    }
    if definition(verbs["encode"]) != streams:
        raise SystemExit("the streams are not those of the definition: nothing to measure")
    return {
        verb: {"float64": lambda call=call: definition(call), "native": call}  # type: ignore[misc]
        for verb, call in verbs.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pictures", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    codec = pylatent.load(options.model)
    if not isinstance(codec, Chain):
        raise SystemExit(f"model {options.model} has no exact networks")
    result: dict[str, Any] = {"environment": environment(), "model": codec.name, "rows": []}
    del result["environment"]["threads"]  # told with each row
    print(", ".join(f"{key} {value}" for key, value in result["environment"].items()))
    for name in options.pictures:
        x = pictures(*CASES[name])
        jobs = {"network": network_sides(codec, x), **codec_sides(codec, x)}
        for threads in options.threads:
            torch.set_num_threads(threads)
            for job, sides in jobs.items():
                seconds = take_turns(sides, options.rounds, wall=threads > 1)
                speedup = {side: seconds["float64"] / taken for side, taken in seconds.items()}
                result["rows"].append(
                    {"pictures": name, "job": job, "threads": threads, "seconds": seconds, "speedup": speedup}
                )
                for side, taken in seconds.items():
                    label = f"{name:>13}  {threads} thread(s)  {job:8} {side:12}"
                    print(f"{label} {1e3 * taken:8.2f} ms {speedup[side]:6.2f}x", flush=True)
    write_json(options.output, result)


if __name__ == "__main__":
    with torch.no_grad():
        main()
