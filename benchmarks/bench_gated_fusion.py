"""Gated fusion against eager torch, torch.compile, and its two 1x1 convolutions alone.

    python benchmarks/bench_gated_fusion.py [--device cpu] [--dtypes float32 bfloat16] [--layouts nchw nhwc]
                                            [--threads 1 2] [--rounds 20] [--seconds 5] [--quick]
                                            [--json benchmarks/results/gated-fusion-NAME.json] [--plot FILE.png]

What a call without a choice of backend does. As many output as input channels, with biases, on latents of pictures of
224x224, 768x512 and 1920x1080. The two convolutions without the gate are the floor: "of the floor" is our time over
theirs. Rates count the products, three times as many with gradients. Processor times on one thread of a CPU, wall times
on more, device times on CUDA; medians over rounds in which the sides take turns. No figure is printed for a shape whose
results and gradients are not those of the float64 reference.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from harness import cuda_turns, environment, take_turns, write_json
from torch import Tensor

from pylatent.ops import gated_fusion
from pylatent.ops.gated_fusion import gated_fusion_reference

Calls = dict[str, Callable[[], Any]]

LATENTS = ((14, 14), (32, 48), (68, 120))
GRID = [(batch, c, *size) for c in (128, 192, 320) for size in LATENTS for batch in (1, 8, 64)]
QUICK = [(1, 192, 14, 14), (1, 192, 32, 48), (1, 320, 32, 48)]
MOST_PIXELS = {"cpu": 13_000, "cuda": 64 * 68 * 120}
OURS, FLOOR = "pylatent", "two convolutions"
LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
TOLERANCES = {torch.float32: 1e-5, torch.float16: 6e-3, torch.bfloat16: 3e-2}  # the largest of 10^6 errors
TF32 = 5e-3  # of float32 where torch may multiply it as TF32: its convolutions may by default


def eager(y: Tensor, s: Tensor, weight_y: Tensor, weight_s: Tensor, bias_y: Tensor, bias_s: Tensor) -> Tensor:
    return torch.sigmoid(F.conv2d(s, weight_s, bias_s)) * F.conv2d(y, weight_y, bias_y)


@dataclass
class Problem:
    """Arguments of a call in the order of `gated_fusion`, and a gradient of its result."""

    inputs: list[Tensor]
    grad: Tensor

    @classmethod
    def of(cls, shape: tuple[int, ...], dtype: torch.dtype, layout: str, device: str) -> Problem:
        batch, channels, height, width = shape
        normal = torch.Generator().manual_seed(0)

        def draw(*size: int, scale: float = 1.0) -> Tensor:
            return (torch.randn(*size, generator=normal) * scale).to(device, dtype)

        pictures = [draw(batch, channels, height, width).contiguous(memory_format=LAYOUTS[layout]) for _ in range(3)]
        weights = [draw(channels, channels, 1, 1, scale=channels**-0.5) for _ in range(2)]
        return cls([*pictures[:2], *weights, draw(channels), draw(channels)], pictures[2])

    @property
    def flop(self) -> float:
        return 4.0 * self.grad.numel() * self.grad.shape[1]

    def forward(self, function: Callable[..., Any]) -> Any:
        with torch.no_grad():
            return function(*self.inputs)

    def forward_backward(self, function: Callable[..., Any]) -> list[Tensor]:
        for tensor in self.inputs:
            tensor.requires_grad_()
        out = function(*self.inputs)
        outs = list(out) if isinstance(out, tuple) else [out]
        grads = torch.autograd.grad(outs, self.inputs, [self.grad] * len(outs))
        for tensor in self.inputs:
            tensor.requires_grad_(False)
        return [*(t.detach() for t in outs), *grads]

    def calls(self, backward: bool, compiled: bool) -> Calls:
        torch.compiler.reset()
        sides: Calls = {
            OURS: gated_fusion,
            "eager": eager,
            FLOOR: lambda y, s, wy, ws, by, bs: (F.conv2d(y, wy, by), F.conv2d(s, ws, bs)),
        }
        if compiled:
            sides["torch.compile"] = torch.compile(eager, fullgraph=True)
        run = self.forward_backward if backward else self.forward
        return {name: lambda function=function: run(function) for name, function in sides.items()}

    def tolerance(self) -> float:
        if self.grad.is_cuda and self.grad.dtype == torch.float32 and torch.backends.cudnn.allow_tf32:
            return TF32
        return TOLERANCES[self.grad.dtype]

    def check(self) -> None:
        """SystemExit unless results and gradients on the first picture are those of the float64 reference."""
        one = Problem([t[:1] if t.dim() == 4 and i < 2 else t for i, t in enumerate(self.inputs)], self.grad[:1])
        exact = Problem([t.double().cpu() for t in one.inputs], one.grad.double().cpu())
        expected = exact.forward_backward(gated_fusion_reference)
        for name in (OURS, "eager"):
            function = eager if name == "eager" else gated_fusion
            for got, reference in zip(one.forward_backward(function), expected, strict=True):
                error = (got.double().cpu() - reference).abs() / (reference.abs() + reference.square().mean().sqrt())
                if not float(error.max()) <= self.tolerance():
                    raise SystemExit(f"{name} is off by {float(error.max()):.2g} of its size; no figures")


def measure(shape: tuple[int, ...], arguments: argparse.Namespace, **variant: Any) -> list[dict[str, Any]]:
    """Prints and returns the rows of one shape, dtype, layout and number of threads."""
    device, threads = arguments.device, variant["threads"]
    problem = Problem.of(shape, getattr(torch, variant["dtype"]), variant["layout"], device)
    problem.check()
    rows = []
    for backward in (False, True):
        calls = problem.calls(backward, compiled=not arguments.no_compile)
        for call in calls.values():
            call()  # compiles
        start = time.perf_counter()
        for call in calls.values():
            call()
        rounds = max(2, min(arguments.rounds, int(arguments.seconds / (3 * (time.perf_counter() - start)))))
        work = problem.flop * (3 if backward else 1)
        row = {"shape": shape, **variant, "pass": "forward+backward" if backward else "forward"}
        if device == "cuda":
            times = cuda_turns(calls, rounds)
            found = {name: t.device_or_call for name, t in times.items()}
            row["call_microseconds"] = {name: 1e6 * t.call for name, t in times.items()}
        else:
            found = take_turns(calls, rounds, wall=threads > 1)
        row |= {"microseconds": {name: 1e6 * t for name, t in found.items()}}
        row |= {"gflop_s": {name: work / t / 1e9 for name, t in found.items()}}
        row |= {"over": {name: t / found[OURS] for name, t in found.items() if name not in (OURS, FLOOR)}}
        row |= {"of_the_floor": found[OURS] / found[FLOOR]}
        rows.append(row)
        print(
            f"{'x'.join(map(str, shape)):>14} {variant['dtype']:>8} {variant['layout']} {threads} thread(s) "
            f"{row['pass']:16} {row['microseconds'][OURS]:9.1f} us {row['gflop_s'][OURS]:8.1f} GFLOP/s, "
            f"{row['of_the_floor']:.3f} of the floor; "
            + ", ".join(f"{ratio:.2f}x {name} ({1e6 * found[name]:.1f})" for name, ratio in row["over"].items()),
            flush=True,
        )
    return rows


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Latency against pixels for the first layout and number of threads: a panel for each dtype and pass."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    first = {name: rows[0][name] for name in ("layout", "threads")}
    chosen = [row for row in rows if all(row[name] == value for name, value in first.items())]
    panels = sorted({(row["dtype"], row["pass"]) for row in chosen})
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.5 * len(panels), 4), squeeze=False, layout="constrained")
    channels = sorted({row["shape"][1] for row in chosen})
    for axis, (dtype, which) in zip(axes[0], panels, strict=True):
        for i, c in enumerate(channels):
            part = [row for row in chosen if (row["dtype"], row["pass"], row["shape"][1]) == (dtype, which, c)]
            part.sort(key=lambda row: row["shape"][0] * row["shape"][2] * row["shape"][3])
            pixels = [row["shape"][0] * row["shape"][2] * row["shape"][3] for row in part]
            for side, style in ((OURS, "o-"), ("eager", "s--"), ("torch.compile", "^:")):
                if side not in part[0]["microseconds"]:
                    continue
                times = [row["microseconds"][side] for row in part]
                axis.loglog(pixels, times, style, color=f"C{i}", label=f"{side}, C={c}", markersize=4)
        axis.set(title=f"{dtype}, {which}", xlabel="pixels of the latents", ylabel="µs")
        axis.legend(fontsize=6)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--dtypes", nargs="+", choices=["float32", "float16", "bfloat16"], default=["float32", "bfloat16"]
    )
    parser.add_argument("--layouts", nargs="+", choices=list(LAYOUTS), default=list(LAYOUTS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5, help="about as long as one row may take")
    parser.add_argument("--quick", action="store_true", help="three shapes")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes long to begin")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    on_cuda = arguments.device == "cuda"
    torch.set_num_threads(1)
    results: dict[str, Any] = {"environment": environment()}
    if on_cuda:
        results["environment"]["device"] = torch.cuda.get_device_name()
    print(", ".join(f"{k} {v}" for k, v in results["environment"].items()))
    shapes = [s for s in (QUICK if arguments.quick else GRID) if s[0] * s[2] * s[3] <= MOST_PIXELS[arguments.device]]
    rows: list[dict[str, Any]] = []
    for threads in arguments.threads[:1] if on_cuda else arguments.threads:
        torch.set_num_threads(threads)
        for dtype in arguments.dtypes:
            for layout in arguments.layouts:
                for shape in shapes:
                    rows += measure(shape, arguments, threads=threads, dtype=dtype, layout=layout)
    results["rows"] = rows
    write_json(arguments.json, results)
    if arguments.plot is not None:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
