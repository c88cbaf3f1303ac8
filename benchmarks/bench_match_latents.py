"""match_latents against eager torch, and the processor time of its products alone.

    python benchmarks/bench_match_latents.py [--rounds 3] [--json benchmarks/results/match-latents-NAME.json]

The latents of a 1080p picture, 68 x 120, d = 256 and v = 320, and of a 512x768 one; processor time of one thread, the
sides taking turns; memory is the most that is in use at a time beside the inputs, as torch's profiler tells it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from harness import environment, take_turns, write_json
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from pylatent.ops import match_latents
from pylatent.ops.match_latents import match_latents_reference

SIDES = {"pylatent": match_latents, "eager": match_latents_reference}
TEMPERATURE = 16.0


def peak_bytes(call: Callable[[], Any]) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    used, most = 0, 0
    for event in recorded.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            used += event.nbytes()
            most = max(most, used)
    return most


def calls(tensors: list[Tensor], backward: bool) -> dict[str, Callable[[], Any]]:
    def make(function: Callable[..., Tensor]) -> Callable[[], Any]:
        if not backward:
            return lambda: function(*tensors, TEMPERATURE)
        return lambda: torch.autograd.grad(
            function(*(each.requires_grad_() for each in tensors), TEMPERATURE).sum(), tensors
        )

    return {name: make(function) for name, function in SIDES.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for height, width in ((68, 120), (32, 48)):
        for backward in (False, True):
            tensors = [torch.randn(1, channels, height, width) for channels in (256, 256, 320)]
            sides = calls(tensors, backward)
            seconds = take_turns(sides, arguments.rounds)
            row: dict[str, Any] = {"size": [height, width], "backward": backward}
            for name, call in sides.items():
                row |= {f"{name}_s": seconds[name], f"{name}_mb": peak_bytes(call) / 1e6}
            row["ratio"] = seconds["eager"] / seconds["pylatent"]
            # Two products forward; backward five more, one of them the scores anew.
            work = 2 * (height * width) ** 2 * (256 + 320) * (3.5 if backward else 1)
            row["gflop_s"] = work / seconds["pylatent"] / 1e9
            rows.append(row)
            print(
                f"{height}x{width} {'forward + backward' if backward else 'forward':18} "
                f"{row['eager_s']:7.3f} s {row['eager_mb']:6.0f} MB -> {row['pylatent_s']:7.3f} s "
                f"{row['pylatent_mb']:6.0f} MB  {row['ratio']:.2f}x  {row['gflop_s']:.0f} GFLOP/s"
            )
    write_json(arguments.json, {"environment": environment(), "rows": rows})


if __name__ == "__main__":
    main()
