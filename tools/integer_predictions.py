"""What integer convolutions should take on an H200, by arithmetic, beside what they took: a table for
docs/cuda-report.md.

A block takes, for each of its steps (a tap of a group of inputs), the longest of its products on the tensor cores, of
its loads from the L2 cache, and of their latency over the stages that are under way; and a start and an end. Blocks go
in waves of as many as the multiprocessors hold. Rates are published ones and were not measured on that card, apart from
the start of a kernel.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import cuda_predictions

import pylatent
from pylatent.codecs.exact_layer import ExactLayer
from pylatent.codecs.integer import IntegerLayer

MULTIPROCESSORS, CLOCK = 132, 1.755e3  # cycles in a µs
BYTE_PRODUCTS = (
    4096 * 0.62
)  # of a multiprocessor in a cycle: the published rate, and the part that mma.sync reaches of it
L2, MOST_L2 = cuda_predictions.L2 / CLOCK, 64.0  # bytes in a cycle, of all multiprocessors and of one
LATENCY = 800  # cycles from a request to the L2 cache to its end
BLOCK = 2000  # cycles of a block before its first product and after its last
GROUP = 32


@dataclass(frozen=True)
class Tile:
    """As csrc/integer_conv/conv_cuda_tile.h has them: pixels, outputs, groups at once, stages, blocks at once; weight
    of a product in the choice."""

    rows: int
    columns: int
    outputs: int
    groups: int
    stages: int
    blocks: int
    weight: int


SMALL = Tile(2, 8, 32, 2, 8, 4, 3)
LARGE = {2: Tile(8, 16, 64, 1, 4, 1, 2), 3: Tile(8, 16, 48, 1, 4, 1, 2)}


def convolution(
    digits: int, height: int, width: int, inputs: int, outputs: int, taps: Sequence[tuple[int, int]]
) -> float:
    """Microseconds. taps: rows and columns of the kernel of each phase, whose outputs have this height and width."""

    def blocks(tile: Tile) -> int:
        tiles = ceil(height / tile.rows) * ceil(width / tile.columns) * ceil(outputs / tile.outputs)
        return len(taps) * tiles

    def cost(tile: Tile) -> int:
        waves = ceil(blocks(tile) / (MULTIPROCESSORS * tile.blocks))
        return waves * tile.blocks * tile.rows * tile.columns * tile.outputs * tile.weight

    tile = min((LARGE[digits], SMALL), key=cost)
    at_once = min(tile.blocks, ceil(blocks(tile) / MULTIPROCESSORS))  # of a multiprocessor
    rate = min(MOST_L2, L2 / min(MULTIPROCESSORS, blocks(tile)))
    pixels = tile.rows * tile.columns
    products = at_once * tile.groups * GROUP * pixels * tile.outputs * 2 * digits / BYTE_PRODUCTS
    cycles = 0.0
    for rows, columns in taps:
        border = (tile.rows + rows - 1) * (tile.columns + columns - 1)
        size = 2 if digits == 2 else 4
        loaded = tile.groups * GROUP * (2 * tile.outputs + size * border / (rows * columns))
        step = max(products, at_once * loaded / rate, LATENCY / (tile.stages - 1))
        cycles += ceil(inputs / (GROUP * tile.groups)) * rows * columns * step / len(taps)
    waves = ceil(blocks(tile) / (MULTIPROCESSORS * at_once))
    return cuda_predictions.START + waves * (cycles + BLOCK) / CLOCK


def exact_network(layers: Sequence[ExactLayer], height: int, width: int) -> float:
    total = cuda_predictions.moved(12 * height * width * layers[0].weight.shape[0])  # values are read
    for layer in layers:
        kernel = layer.weight.shape[2]
        if not layer.transposed:
            inputs, outputs, taps = layer.weight.shape[1], layer.weight.shape[0], [(kernel, kernel)]
        else:
            inputs, outputs = layer.weight.shape[:2]
            halves = (ceil(kernel / 2), kernel // 2)
            taps = [(rows, columns) for rows in halves for columns in halves]
        total += convolution(3, height, width, inputs, outputs, taps)
        height, width = (length * layer.stride for length in (height, width))
    return total


def synthesis(layers: Sequence[IntegerLayer], height: int, width: int) -> float:
    total = cuda_predictions.moved(6 * height * width * layers[0].weight.shape[1])
    for layer in layers:
        outputs, inputs, kernel, _ = layer.weight.shape
        total += convolution(2, height, width, inputs, outputs, [(kernel, kernel)])
        height, width = height * layer.shuffle, width * layer.shuffle
    return total


def table() -> list[str]:
    """In Markdown."""
    tables = pylatent.load("default-2")._ready()
    assert tables.synthesis is not None
    light = pylatent.load("default-2").receivers["light"]
    wanted = {
        "exact layer 5x5, 192 to 64": convolution(3, 17, 30, 192, 64, [(5, 5)]),
        "h_s of default-2": exact_network(tables.networks["h_s"].layers, 17, 30),
        "full synthesis of default-2": synthesis(tables.synthesis.layers, 68, 120),
        "light synthesis of default-2": synthesis(light.synthesis.layers, 68, 120),
    }
    rows = json.loads(cuda_predictions.MEASURED.read_text(encoding="utf-8"))["rows"]
    lines = ["| of a 1080p picture | measured, µs | torch, µs | predicted, µs |", "|---|---:|---:|---:|"]
    for row in rows:
        if row["operator"] == "integer_conv":
            device = {side: times[0] for side, times in row["us"].items()}
            ours = device.pop("pylatent")
            torchs = ", ".join(f"{time:,.0f} ({side})" for side, time in device.items()) or "–"
            lines.append(f"| {row['what']} | {ours:,.0f} | {torchs} | {wanted[row['what']]:,.0f} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
