"""What can be known about the CUDA kernels without a GPU: `make cuda-report` writes docs/cuda-report.md.

Registers, spills and occupancy are nvcc's; bytes, conflicts and tensor-core instructions are counted while the emulator
runs the cases below. What a kernel must explain in the comment at its head is listed first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cuda_predictions
import integer_predictions
import torch
from cuda_resources import ARCHITECTURES, Resources, compiled, occupancy, of_operator, symbols
from torch import Tensor

from pylatent import _native

SOURCE = Path(__file__).parents[1]
sys.path.insert(0, str(SOURCE / "tests"))
import emulation  # noqa: E402

MOST_MOVED = 1.3  # times the bytes that a launch needs
ROUNDING = 1.02


@dataclass
class Case:
    """A call of an operator, and its gradients: `macs` multiplications each way, at least."""

    name: str
    call: Callable[[], Tensor]
    inputs: Sequence[Tensor]
    forward_macs: int = 0
    backward_macs: int = 0
    constants: Sequence[Tensor] = ()


@dataclass
class Row:
    case: str
    kernel: str
    counts: dict[str, Any]

    def moved(self) -> float:
        counts = self.counts
        return (counts["bytes_read"] + counts["bytes_written"] + counts["bytes_added"]) / max(1, counts["bytes_needed"])

    def ratio(self, name: str) -> float | None:
        ideal = self.counts[f"{name}_ideal"]
        return self.counts[name] / ideal if ideal else None


def multiplications(counts: dict[str, Any]) -> int:
    """That tensor cores are asked for; of bytes, all that a product of numbers of several bytes takes."""
    return 2048 * counts["mma_16bit"] + 1024 * counts["mma_tf32"] + 4096 * counts["mma_bytes"]


def random(*shape: int, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> Tensor:
    return (torch.randn(*shape) * scale).to(dtype).requires_grad_()


def deform_conv2d(dtype: torch.dtype, channels: int, height: int, width: int) -> Case:
    from pylatent.ops import deform_conv2d

    x, weight = (
        random(1, channels, height, width, dtype=dtype),
        random(channels, channels, 3, 3, dtype=dtype, scale=0.02),
    )
    offset = random(1, 18, height, width)
    mask = torch.rand(1, 9, height, width).requires_grad_()
    macs = height * width * channels * channels * 9
    name = f"deform_conv2d 3x3, {channels} x {height} x {width}, {str(dtype)[6:]}"
    call = lambda: deform_conv2d(x, offset, weight, padding=1, mask=mask, backend="native")  # noqa: E731
    return Case(name, call, [x, offset, weight, mask], macs, 2 * macs)


def gated_fusion(dtype: torch.dtype, channels: int, height: int, width: int, channels_last: bool) -> Case:
    from pylatent.ops import gated_fusion

    layout = torch.channels_last if channels_last else torch.contiguous_format
    y, s = (random(1, channels, height, width, dtype=dtype) for _ in range(2))
    y, s = (t.detach().contiguous(memory_format=layout).requires_grad_() for t in (y, s))
    weights = [random(channels, channels, dtype=dtype, scale=0.07) for _ in range(2)]
    biases = [random(channels, dtype=dtype) for _ in range(2)]
    # The gradients of the weights and of y and s are products of torch's.
    macs = 2 * height * width * channels * channels
    name = f"gated_fusion, {channels} x {height} x {width}{' channels last' * channels_last}, {str(dtype)[6:]}"
    call = lambda: gated_fusion(y, s, *weights, *biases, backend="native")  # noqa: E731
    return Case(name, call, [y, s, *weights, *biases], macs, 2 * macs)


def gaussian_bits(dtype: torch.dtype, count: int) -> Case:
    from pylatent.ops import gaussian_bits

    q = (3 * torch.randn(count)).round().to(dtype).requires_grad_()
    scales = (0.1 + 4 * torch.rand(count)).to(dtype).requires_grad_()
    name = f"gaussian_bits, {count}, {str(dtype)[6:]}"
    return Case(name, lambda: gaussian_bits(q, scales, backend="native"), [q, scales])


def sga_sample(dtype: torch.dtype, classes: int, drawn: bool, count: int) -> Case:
    from pylatent.ops import sga_sample

    v = random(count, dtype=dtype, scale=3)
    noise = None if drawn else -torch.empty(classes, count).exponential_().log()
    name = f"sga_sample, {classes} classes, {count}, {str(dtype)[6:]}, noise {'drawn' if drawn else 'given'}"
    call = lambda: sga_sample(v, 0.5, classes=classes, noise=noise, backend="native")  # noqa: E731
    return Case(name, call, [v], constants=[] if noise is None else [noise])


def integer_layer(inputs: int, outputs: int, height: int, width: int) -> Case:
    from pylatent.codecs._conv_cuda import convolve
    from pylatent.codecs._integer_cuda import pack_layer
    from pylatent.codecs.integer import IntegerLayer

    weight = torch.randint(-2000, 2001, (outputs, inputs, 3, 3), dtype=torch.int16)
    ones = torch.ones(outputs, dtype=torch.int32)
    layer = IntegerLayer("case", weight, ones, ones << 20, True, False, -32767, 32767, 1, torch.ones(inputs))
    packed, result = pack_layer(layer, torch.device("cpu"))
    x = torch.randint(-8191, 8192, (1, height, width, inputs), dtype=torch.int16)
    name = f"integer layer 3x3, {inputs} to {outputs} x {height} x {width}"
    call = lambda: convolve(packed, x, (height, width), result)  # noqa: E731
    return Case(name, call, [x, weight], 9 * height * width * inputs * outputs)


def exact_layer(inputs: int, outputs: int, height: int, width: int) -> Case:
    from pylatent.codecs.exact import ExactNetwork
    from pylatent.codecs.exact_layer import ExactLayer

    weight = torch.randint(-900, 901, (outputs, inputs, 5, 5)).double()
    network = ExactNetwork([ExactLayer(weight, torch.zeros(outputs).double(), 1, 2, 0, False, 10)])
    x = torch.randint(-8191, 8192, (1, inputs, height, width)).double()
    name = f"exact layer 5x5, {inputs} to {outputs} x {height} x {width}"
    return Case(name, lambda: network(x), [x], 25 * height * width * inputs * outputs)


def cases() -> list[Case]:
    halves = [torch.bfloat16, torch.float16]
    return [
        *(gaussian_bits(dtype, 16384) for dtype in [torch.float32, *halves]),
        *(sga_sample(torch.float32, classes, drawn, 16384) for classes in (2, 3) for drawn in (False, True)),
        *(sga_sample(dtype, 2, True, 16384) for dtype in halves),
        *(gated_fusion(dtype, 192, 16, 16, last) for dtype in [torch.float32, *halves] for last in (False, True)),
        *(deform_conv2d(dtype, 192, 16, 16) for dtype in [torch.float32, *halves]),
        *(layer(64, 96, *size) for layer in (integer_layer, exact_layer) for size in ((16, 32), (4, 8))),
    ]


def kernel_name(names: dict[int, str], launch: str, address: int) -> str:
    """Launches are named after the operator's folder: "gated_fusion forward"."""
    (operator,) = (p.name for p in (SOURCE / "csrc").iterdir() if launch.startswith(p.name))
    return of_operator(operator, names[address])


def measure() -> tuple[list[Row], list[str]]:
    """One row a launch of a kernel, and a line of Markdown a call."""
    module = emulation.module("_emulated")
    names = symbols(Path(module.__file__))
    rows, calls = [], []

    def count(label: str, tensors: Sequence[Tensor], macs: int, run: Callable[[], object]) -> object:
        module.reset_counters()
        module.count(True)
        result = run()
        module.count(False)
        found = [
            Row(label, kernel_name(names, counts["name"], counts["kernel"]), counts) for counts in module.counters()
        ]
        rows.extend(found)
        outputs = [result] if isinstance(result, Tensor) else [t for t in result if t is not None]
        least = sum(t.nbytes for t in [*tensors, *outputs])
        needed = sum(row.counts["bytes_needed"] for row in found)
        multiplied = sum(multiplications(row.counts) for row in found)
        mma = f"{multiplied / macs:.2f}" if multiplied else "-"
        launches = sum(row.counts["launches"] for row in found)
        calls.append(f"| {label} | {launches} | {least / 1e6:.2f} | {needed / least:.2f} | {mma} |")
        return result

    with _native.emulated(module):
        for case in cases():
            torch.manual_seed(0)
            out = count(f"{case.name}, forward", [*case.inputs, *case.constants], case.forward_macs, case.call)
            if not out.requires_grad:
                continue
            grad = torch.randn_like(out)
            backward = lambda: torch.autograd.grad(out, case.inputs, grad)  # noqa: B023, E731
            count(f"{case.name}, backward", [*case.inputs, grad], case.backward_macs, backward)
    return rows, calls


def counted_table(rows: list[Row]) -> list[str]:
    def cell(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    lines = ["| case | kernel | needed MB | moved | sectors | shared | ldmatrix |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        cells = [cell(row.ratio(name)) for name in ("global_sectors", "shared_turns", "ldmatrix_turns")]
        needed = row.counts["bytes_needed"] / 1e6
        lines.append(f"| {row.case} | `{row.kernel}` | {needed:.2f} | {row.moved():.2f} | {' | '.join(cells)} |")
    return lines


def launched_by_tests() -> dict[str, list[tuple[int, int]]]:
    """(threads, bytes of shared memory) of each launch that the emulated tests make, by kernel."""
    module = emulation.FOLDER / Path(emulation.module("_emulated").__file__).name
    names = symbols(module)
    with tempfile.NamedTemporaryFile() as file:
        environment = os.environ | {"PYLATENT_LAUNCHES": file.name, "PYLATENT_SCHEDULES": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "tests/ops", "tests/layers", "tests/codecs"]
        command += ["-k", "cuda-emulated"]
        subprocess.run(command, cwd=SOURCE, env=environment, check=True)
        launches = json.loads(Path(file.name).read_text())
    found: dict[str, list[tuple[int, int]]] = {}
    for name, kernel, threads, shared_bytes in launches:
        found.setdefault(kernel_name(names, name, kernel), []).append((threads, shared_bytes))
    return found


def resource_table(resources: dict[str, dict[str, Resources]], launched: dict[str, list[tuple[int, int]]]) -> list[str]:
    lines = ["| kernel | threads | shared bytes | registers | spilled bytes | occupancy |", "|---|---|---|---|---|---|"]
    for kernel, by_architecture in sorted(resources.items()):
        registers = ", ".join(str(by_architecture[a].registers) for a in ARCHITECTURES)
        spilled = ", ".join(str(by_architecture[a].spilled_bytes) for a in ARCHITECTURES)
        if kernel not in launched:
            lines.append(f"| `{kernel}` | **no test runs it** | | {registers} | {spilled} | |")
            continue
        threads, shared = max(launched[kernel])
        share = [occupancy(a, by_architecture[a].registers, threads, shared) for a in ARCHITECTURES]
        percent = ", ".join(f"{100 * x:.0f} %" for x in share)
        lines.append(f"| `{kernel}` | {threads} | {shared} | {registers} | {spilled} | {percent} |")
    return lines


def worst_line(row: Row) -> str:
    """Where most turns are lost to conflicts."""
    lost = {place: turns - ideal for place, (_, _, turns, ideal) in row.counts["lines"].items()}
    return f", most at {max(lost, key=lost.__getitem__)}"


def to_explain(resources: dict[str, dict[str, Resources]], rows: list[Row]) -> list[str]:
    found: dict[str, set[str]] = {}
    for kernel, by_architecture in resources.items():
        for architecture, its in by_architecture.items():
            if its.spilled_bytes:
                found.setdefault(kernel, set()).add(f"spills {its.spilled_bytes} bytes on {architecture}")
    for row in rows:
        its = found.setdefault(row.kernel, set())
        for name, text in (("ldmatrix_turns", "bank conflicts of ldmatrix"), ("shared_turns", "bank conflicts")):
            if (ratio := row.ratio(name)) and ratio > ROUNDING:
                its.add(f"{text} ({ratio:.2f} times the turns{worst_line(row) if name == 'shared_turns' else ''})")
        if row.moved() > MOST_MOVED:
            its.add(f"moves {row.moved():.2f} times the bytes that it needs")
    return [f"- `{kernel}`: {'; '.join(sorted(what))}" for kernel, what in sorted(found.items()) if what] or [
        "Nothing."
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("build", type=Path, help="folder of a build with CUDA, configured with ninja")
    parser.add_argument("-o", "--output", type=Path, default=SOURCE / "docs" / "cuda-report.md")
    arguments = parser.parse_args()

    rows, calls = measure()
    resources: dict[str, dict[str, Resources]] = {}
    for kernel, architecture, its in compiled(arguments.build):
        resources.setdefault(kernel, {})[architecture] = its
    nvcc = subprocess.run(["nvcc", "--version"], check=True, capture_output=True, text=True).stdout
    release = nvcc.split("release ")[1].split(",")[0]
    text = (SOURCE / "tools" / "cuda_report.md.in").read_text()
    text = text.format(
        nvcc=release,
        predictions="\n".join(cuda_predictions.table()),
        integers="\n".join(integer_predictions.table()),
        explain="\n".join(to_explain(resources, rows)),
        calls="\n".join(calls),
        counted="\n".join(counted_table(rows)),
        resources="\n".join(resource_table(resources, launched_by_tests())),
    )
    arguments.output.write_text(text)


if __name__ == "__main__":
    main()
