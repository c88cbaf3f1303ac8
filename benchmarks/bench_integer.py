"""Integer synthesis: native kernels against torch's float32 convolutions, and a model's decoder against another's.

    python benchmarks/bench_integer.py [--model default-2] [--against default-1] [--rounds 5] [-o RESULT.json]

Layers: 3x3 convolutions with all that follows them, of the sizes that a 1080p picture has in a residual synthesis,
each as the difference between networks with one and with five of them, against `torch.nn.Conv2d` alone (oneDNN,
float32, channels last). Products are counted as those of the plain convolution, so that kernels that need fewer show
more of them a second. Models: decode, from bitstream to 8-bit pixels, and back, of a 1080p picture at quality 4. One
thread, seconds of processor time, sides take turns. Nothing is timed before all kernels have given the same pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bench_exact import pictures
from harness import environment, take_turns, write_json
from torch import Tensor, nn

import pylatent
from pylatent.codecs import _integer_native
from pylatent.codecs.integer import LIMITS, IntegerLayer, IntegerSynthesis, largest_sum, transformed

LAYERS = ((192, 68, 120), (128, 136, 240), (64, 272, 480))  # channels, rows, columns


def layer(inputs: int, outputs: int, kernel: int, high: int) -> IntegerLayer:
    """Random weights that use the room of their sums; results from 0 to 255."""
    weight = torch.randn(outputs, inputs, kernel, kernel)
    limits, zero = LIMITS[kernel], torch.zeros(outputs)
    room = limits.sums / float(largest_sum(weight, zero, -255, high).max())
    weight = (weight * min(room, limits.weights / float(transformed(weight).abs().max())) * 0.99).round()
    multiplier = torch.full((outputs,), int(2**32 * 255 / limits.sums * 8) + 1)
    integers = weight.short(), zero.int(), multiplier.int()
    return IntegerLayer("bench", *integers, False, False, 0, 255, 1, torch.ones(inputs))


def layer_sides(channels: int, rows: int, columns: int) -> dict[str, Callable[[], Any]]:
    """For each set of kernels networks of one and of five layers; torch's float32 convolution."""
    latents, gains = torch.randn(1, channels, rows, columns), torch.full((1, channels), 1 << 24).int()
    sides: dict[str, Callable[[], Any]] = {}
    for count in (1, 5):
        layers = [layer(channels, channels, 3, 255) for _ in range(count)] + [layer(channels, 3, 1, 255)]
        packed = _integer_native.pack(255, IntegerSynthesis(gains, 255, layers).layers)
        for number, name in enumerate(_integer_native.variants()):
            if name not in ("scalar", "amx-model"):
                sides[f"{name} {count}"] = partial(_integer_native.run, packed, latents, gains, 1, number)
        same_pixels([side for name, side in sides.items() if name.endswith(f" {count}")])
    convolution = nn.Conv2d(channels, channels, 3, padding=1).to(memory_format=torch.channels_last)
    values = latents.contiguous(memory_format=torch.channels_last)
    sides["torch float32"] = lambda: convolution(values)
    return sides


def same_pixels(sides: list[Callable[[], Tensor]]) -> None:
    first, *others = (side() for side in sides)
    if not all(torch.equal(first, other) for other in others):
        raise SystemExit("the kernels do not give the same pixels: nothing to measure")


def model_sides(names: list[str], x: Tensor) -> dict[str, Callable[[], Any]]:
    sides: dict[str, Callable[[], Any]] = {}
    for name in names:
        codec = pylatent.load(name)
        streams = codec.compress(x, 4.0)
        sides[f"{name} decode"] = partial(codec.decode, streams)
        sides[f"{name} decompress"] = partial(codec.decompress_bytes, streams)
        sides[f"{name} compress"] = partial(codec.compress, x, 4.0)
    return sides


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model with an integer synthesis; none: layers only")
    parser.add_argument("--against", default="default-1")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results: dict[str, Any] = {"environment": environment(), "layers": {}}
    for shape in LAYERS:
        seconds = take_turns(layer_sides(*shape), options.rounds)
        found = {name[:-2]: (seconds[name] - seconds[name[:-2] + " 1"]) / 4 for name in seconds if name.endswith(" 5")}
        found["torch float32"] = seconds["torch float32"]
        products = 9 * shape[0] ** 2 * shape[1] * shape[2] / 1e9
        results["layers"]["{}x{}x{}".format(*shape)] = found
        rates = (f"{name} {products / value:.0f}" for name, value in found.items())
        print(f"3x3 of {shape[0]} channels, {shape[1]}x{shape[2]}, 10^9 products a second: {', '.join(rates)}")
    if options.model:
        seconds = take_turns(model_sides([options.model, options.against], pictures(1, 1080, 1920)), options.rounds)
        results["models"] = seconds
        for name, value in seconds.items():
            print(f"1080p, {name}: {value * 1e3:.0f} ms")
        for verb in ("compress", "decompress"):
            ratio = seconds[f"{options.against} {verb}"] / seconds[f"{options.model} {verb}"]
            print(f"{options.model} {verb}es {ratio:.2f} times as fast as {options.against}")
    write_json(options.output, results)


if __name__ == "__main__":
    main()
