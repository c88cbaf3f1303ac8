"""What the CUDA kernels take on an H200 (benchmarks/results/gpu-h200.json), beside what they should by arithmetic: a
table for docs/cuda-report.md.

A kernel takes a start, then the longest of what it moves through memory or the L2 cache and the instructions that it
issues. Library products take a start and their multiplications at cuBLAS's rate. Constants that were not measured on
that card are marked. All of it was written down before these kernels had run on one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from pylatent.ops.gated_fusion import cost as cost

MEASURED = Path(__file__).parents[1] / "benchmarks" / "results" / "gpu-h200.json"

START = 2.0  # µs of a kernel in a graph
MEMORY = 4.1e6  # bytes in a µs, read and written by a copy
L2 = 5.5e6  # bytes in a µs; not measured, published for the H100
ADDED = L2 / 2  # bytes of atomic additions in a µs; not measured
ISSUED = 132 * 4 * 1.755e3 * 0.95  # instructions of warps in a µs: four a cycle and multiprocessor, nearly all of them

# Corners of a sample, and the share that its block has not read yet: counted, with offsets of one pixel's deviation and
# blocks of 3 to 5 times, or once, 32 samples.
CORNERS, NEW, NEW_IF_SMALL = 3.8, 0.3, 0.54
# Instructions of a thread for 16 bytes of a sample's channels, gather and scatter, by bytes of an element: counted in
# the source.
GATHER, SCATTER = {2: 110, 4: 60}, {2: 230, 4: 120}
# Instructions of an element of sga_sample, without and with its slope: nvcc's for sm_90, less those of paths not taken.
SAMPLE = {"linear3": (126, 161), "ssl2": (90, 105), "ssl3": (170, 220)}
BITS = (90, 130)  # of gaussian_bits, each way


PEERS = ("eager", "torch.compile", "torchvision")


def table() -> list[str]:
    """In Markdown."""
    lines = [
        "| operator | shape | dtype | pass | measured, µs | fastest peer, µs | times as fast | predicted, µs |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    for row in measured():
        device = row.get("us") or row["microseconds"]
        ours, peers = device["pylatent"], {side: device[side] for side in PEERS if side in device}
        peer = min(peers, key=peers.__getitem__, default=None)
        shape = "x".join(map(str, row["shape"]))
        cells = [name(row), shape, row["dtype"], row["pass"].replace("+", " and "), f"{ours:,.1f}"]
        cells += ["–", "–"] if peer is None else [f"{peers[peer]:,.1f} ({peer})", f"{peers[peer] / ours:.2f}"]
        lines.append(f"| {' | '.join(cells)} | {predicted(row):,.0f} |")
    return lines


def measured() -> list[dict[str, Any]]:
    """Of the float operators, contiguous."""
    rows = json.loads(MEASURED.read_text(encoding="utf-8"))["rows"]
    return [row for row in rows if row["operator"] != "integer_conv" and row.get("layout", "nchw") == "nchw"]


def name(row: dict[str, Any]) -> str:
    return f"sga {row['method']}{row['classes']}" if row["operator"] == "sga_sample" else row["operator"]


def predicted(row: dict[str, Any]) -> float:
    """Microseconds of the device."""
    shape, dtype, backward = row["shape"], getattr(torch, row["dtype"]), row["pass"] != "forward"
    if row["operator"] == "deform_conv2d":
        return deform_conv2d(shape, dtype, backward)
    if row["operator"] == "gated_fusion":
        return gated_fusion(shape, dtype, backward)
    if row["operator"] == "gaussian_bits":
        return gaussian_bits(shape, backward)
    return sga_sample(shape, dtype, backward, f"{row['method']}{row['classes']}")


def deform_conv2d(shape: list[int], dtype: torch.dtype, backward: bool) -> float:
    """3x3 taps, modulated, float32 as TF32, contiguous NCHW."""
    batch, channels, height, width = shape
    pixels, size = batch * height * width, dtype.itemsize
    tensor, columns, weight = pixels * channels * size, 9 * pixels * channels * size, 9 * channels * channels * size
    tiles = -(-columns // (25 << 20))
    new = NEW if 9 * pixels >= 3 * 32 * 8 * 132 else NEW_IF_SMALL
    corners = CORNERS * new * columns
    product = tiles * products(dtype).product_start * 1e6 + 18.0 * pixels * channels**2 / products(dtype).product * 1e6

    def warps(instructions: dict[int, int]) -> float:
        return columns / 16 / 32 * instructions[size]

    gather = tiles * START + max((corners + columns) / L2, warps(GATHER) / ISSUED)
    # Input to channels last, weight to taps before channels; bias, or the rows of several pictures to NCHW.
    total = moved(2 * tensor) + moved(2 * weight) + gather + product + moved((1 if batch == 1 else 2) * tensor)
    if not backward:
        return total
    floats = 4 * pixels * channels
    scatter = tiles * START + max((2 * columns + corners) / L2 + CORNERS * 9 * floats / ADDED, warps(SCATTER) / ISSUED)
    total += moved(2 * tensor) + moved(2 * weight) + moved(floats) + 2 * product + scatter
    total += moved(tensor + floats) + moved(2 * weight) + moved(tensor)  # both gradients to their layouts, bias
    return total + (moved(2 * tensor) if batch > 1 else 0)


def gated_fusion(shape: list[int], dtype: torch.dtype, backward: bool) -> float:
    """The way that a graph takes, TF32 allowed."""
    batch, channels, height, width = shape
    pixels, rates = batch * height * width, products(dtype)
    saved = cost.seconds_saved(dtype, True, pixels, channels, channels, channels, backward)
    kernel = rates.kernel_start + 4.0 * pixels * channels**2 / rates.kernel
    total = (kernel - max(0.0, saved)) * 1e6
    if not backward:
        return total
    product = rates.product_start + 2.0 * pixels * channels**2 / rates.product
    # Pre-activation gradients in one pass, the sums for the biases, a gradient of each input and weight.
    return total + moved(5 * pixels * channels * dtype.itemsize) + 2 * START + 4e6 * product


def sga_sample(shape: list[int], dtype: torch.dtype, backward: bool, form: str) -> float:
    """With the key drawn by torch, and the product of gradient and slope."""
    count, size = torch.Size(shape).numel(), dtype.itemsize
    instructions = SAMPLE[form][backward] * count / 32
    total = 2 * START + max((2 * size + 4 * backward) * count / MEMORY, instructions / ISSUED)
    return total + (moved((2 * size + 4) * count) if backward else 0)


def gaussian_bits(shape: list[int], backward: bool) -> float:
    count = torch.Size(shape).numel()
    forward = START + max(12 * count / MEMORY, BITS[0] * count / 32 / ISSUED)
    return forward + (START + max(20 * count / MEMORY, BITS[1] * count / 32 / ISSUED) if backward else 0)


def moved(count: int) -> float:
    return START + count / MEMORY


def products(dtype: torch.dtype) -> cost.Rates:
    return cost.HALF if dtype.itemsize == 2 else cost.TF32


if __name__ == "__main__":
    print("\n".join(table()))
