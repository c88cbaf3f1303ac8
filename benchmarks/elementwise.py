"""What the benchmarks of elementwise operators share: latents, turns, rates, tables and plots."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from harness import cuda_turns, environment, take_turns, write_json
from torch import Tensor

LATENTS = ((14, 14), (32, 48), (68, 120))
GRID = [(batch, c, *size) for c in (128, 192, 320) for size in LATENTS for batch in (1, 8, 64)]
QUICK = [(1, 192, 14, 14), (1, 192, 32, 48), (1, 192, 68, 120)]
MOST_ELEMENTS = {"cpu": 13_000_000, "cuda": 64 * 320 * 68 * 120}
OURS = "pylatent"
Side = Callable[..., Tensor]


class Subject(Protocol):
    """An operator in one variant (method, classes), and what it is measured against."""

    variant: dict[str, Any]
    sides: dict[str, Side]

    def inputs(self, shape: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]: ...

    def check(self, inputs: list[Tensor]) -> None:
        """SystemExit unless our result and gradients are those of the float64 reference."""
        ...

    def bytes(self, inputs: list[Tensor], backward: bool) -> int:
        """The least that must be moved."""
        ...


def forward(function: Side, inputs: list[Tensor]) -> Tensor:
    with torch.no_grad():
        return function(*inputs)


def forward_backward(function: Side, inputs: list[Tensor], grad: Tensor) -> list[Tensor]:
    for tensor in inputs:
        tensor.requires_grad_()
    out = function(*inputs)
    grads = torch.autograd.grad(out, inputs, grad)
    for tensor in inputs:
        tensor.requires_grad_(False)
    return [out.detach(), *grads]


def require_close(name: str, got: Tensor, expected: Tensor, tolerance: float) -> None:
    """SystemExit unless `got` is `expected` (float64), up to a part of the element plus the root mean square."""
    error = (got.double().cpu() - expected).abs() / (expected.abs() + expected.square().mean().sqrt())
    if not float(error.max()) <= tolerance:
        raise SystemExit(f"{name} is off by {float(error.max()):.2g} of its size; no figures")


def measure(
    subject: Subject, shape: tuple[int, ...], dtype: str, threads: int, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Prints and returns the rows of one shape, dtype and number of threads."""
    inputs = [t.to(arguments.device) for t in subject.inputs(shape, getattr(torch, dtype))]
    subject.check([t[:1] for t in inputs])
    grad = torch.randn_like(forward(subject.sides[OURS], inputs))
    rows = []
    for backward in (False, True):
        torch.compiler.reset()
        sides = dict(subject.sides)
        if not arguments.no_compile:
            sides["torch.compile"] = torch.compile(sides["eager"], fullgraph=True)
        calls = {
            name: (lambda f=f: forward_backward(f, inputs, grad)) if backward else (lambda f=f: forward(f, inputs))
            for name, f in sides.items()
        }
        for call in calls.values():
            call()  # compiles
        start = time.perf_counter()
        for call in calls.values():
            call()
        rounds = max(2, min(arguments.rounds, int(arguments.seconds / (3 * (time.perf_counter() - start)))))
        on_cuda = arguments.device == "cuda"
        row: dict[str, Any] = {"shape": shape, **subject.variant, "dtype": dtype, "threads": threads}
        row["pass"] = "forward+backward" if backward else "forward"
        if on_cuda:
            times = cuda_turns(calls, rounds)
            found = {name: t.device_or_call for name, t in times.items()}
            row["call_microseconds"] = {name: 1e6 * t.call for name, t in times.items()}
        else:
            found = take_turns(calls, rounds, wall=threads > 1)
        moved = subject.bytes(inputs, backward)
        row["microseconds"] = {name: 1e6 * t for name, t in found.items()}
        row["gb_s"] = {name: moved / t / 1e9 for name, t in found.items()}
        row["over"] = {name: t / found[OURS] for name, t in found.items() if name != OURS}
        rows.append(row)
        print(
            f"{'x'.join(map(str, shape)):>14} {' '.join(map(str, subject.variant.values()))} {dtype} "
            f"{threads} thread(s) {row['pass']:16} {row['microseconds'][OURS]:9.1f} us {row['gb_s'][OURS]:7.2f} GB/s; "
            + ", ".join(f"{ratio:.1f}x {name} ({1e6 * found[name]:.0f})" for name, ratio in row["over"].items()),
            flush=True,
        )
    return rows


def _plot(rows: list[dict[str, Any]], variants: list[dict[str, Any]], path: Path) -> None:
    """Latency against elements for the first dtype and number of threads: a panel for each variant and pass."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    passes = ("forward", "forward+backward")
    figure, axes = pyplot.subplots(
        len(variants), 2, figsize=(9, 3.6 * len(variants)), squeeze=False, layout="constrained"
    )
    chosen = [row for row in rows if all(row[name] == rows[0][name] for name in ("dtype", "threads"))]
    for line, variant in zip(axes, variants, strict=True):
        for axis, which in zip(line, passes, strict=True):
            part = [row for row in chosen if row["pass"] == which and variant.items() <= row.items()]
            part.sort(key=lambda row: torch.Size(row["shape"]).numel())
            sizes = [torch.Size(row["shape"]).numel() for row in part]
            for side in part[0]["microseconds"]:
                axis.loglog(sizes, [row["microseconds"][side] for row in part], "o-", label=side, markersize=4)
            axis.set(title=" ".join([*map(str, variant.values()), which]), xlabel="elements", ylabel="µs")
            axis.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def run(description: str, subjects: list[Subject]) -> None:
    """The command line of a benchmark: every subject on every shape, dtype and number of threads."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "float16", "bfloat16"], default=["float32"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5, help="about as long as one row may take")
    parser.add_argument("--quick", action="store_true", help="three shapes")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes long to begin")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="latency against size, as PNG")
    arguments = parser.parse_args()
    on_cuda = arguments.device == "cuda"
    torch.set_num_threads(1)
    results: dict[str, Any] = {"environment": environment()}
    if on_cuda:
        results["environment"]["device"] = torch.cuda.get_device_name()
    print(", ".join(f"{k} {v}" for k, v in results["environment"].items()))
    shapes = QUICK if arguments.quick else GRID
    shapes = [shape for shape in shapes if torch.Size(shape).numel() <= MOST_ELEMENTS[arguments.device]]
    rows: list[dict[str, Any]] = []
    for threads in arguments.threads[:1] if on_cuda else arguments.threads:
        torch.set_num_threads(threads)
        for dtype in arguments.dtypes:
            for subject in subjects:
                for shape in shapes:
                    rows += measure(subject, shape, dtype, threads, arguments)
    results["rows"] = rows
    write_json(arguments.json, results)
    if arguments.plot is not None:
        _plot(rows, [subject.variant for subject in subjects], arguments.plot)
