"""Deformable convolution against torchvision, and on the CPU onnxruntime and OpenVINO.

    python benchmarks/bench_deform_conv2d.py [--device cpu] [--dtypes float32] [--threads 1 2] [--rounds 5]
                                             [--seconds 10] [--quick] [--plot FILE.png]
                                             [--json benchmarks/results/deform-conv2d-NAME.json]

Needs torchvision, which has no bfloat16 on CUDA. onnxruntime (with onnx) and OpenVINO, which have a forward pass only,
are measured where they are installed, in float32. 3x3 taps, modulated, with bias, as many output as input channels, on
latents of pictures of 224x224, 768x512 and 1920x1080. torch's dense convolution of the same shape, which need not
gather, is printed as the ceiling. On one thread of a CPU times are processor times, on more wall times, on CUDA those
of the device; medians over rounds where the sides take turns. Extra memory, of the CPU alone, is the peak resident
memory of a second call beyond what was resident before it and what it returns, each in a process of its own. No figure
is printed for a shape whose results and gradients are not those of the float64 reference.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from deform_conv2d_peers import onnxruntime_call, openvino_call
from harness import cuda_turns, environment, take_turns, write_json
from torch import Tensor

from pylatent import _native
from pylatent.ops import deform_conv2d
from pylatent.ops.deform_conv2d import deform_conv2d_reference

Calls = dict[str, Callable[[], Any]]

LATENTS = ((14, 14), (32, 48), (68, 120))
TARGETS = [(1, 192, 32, 48), (1, 320, 32, 48)]
GRID = [(batch, c, *size) for c in (128, 192, 320) for size in LATENTS for batch in (1, 8) if batch * size[0] <= 256]
SIDES = ["pylatent", "torchvision", "dense convolution", "onnxruntime", "openvino"]
OURS, PEER, CEILING = SIDES[:3]
# Of the root mean square: the largest of 10^6 errors. float32 on CUDA may be multiplied as TF32.
TOLERANCES = {torch.float32: 1e-4, torch.float16: 1.5e-2, torch.bfloat16: 5e-2}
TF32 = 1.5e-2
# Peers may be further off: in half precision torchvision rounds the places that it reads at, too (0.04 to 0.07).
PEERS = 0.2


@dataclass
class Problem:
    """Arguments of a call in the order of `deform_conv2d`, and a gradient of its result."""

    input: Tensor
    offset: Tensor
    weight: Tensor
    bias: Tensor
    mask: Tensor
    grad: Tensor

    @classmethod
    def of(cls, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, device: str = "cpu") -> Problem:
        batch, channels, height, width = shape
        normal = torch.Generator().manual_seed(0)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=normal)

        plane = (height, width)
        # In float32 as in float64, no sample lies at a whole coordinate, where the gradient of its offset jumps.
        offset = (torch.floor(128 * draw(batch, 18, *plane)) + 0.5) / 64
        tensors = [
            draw(batch, channels, *plane),
            offset,
            draw(channels, channels, 3, 3) / (9 * channels) ** 0.5,
            draw(channels),
            draw(batch, 9, *plane).sigmoid(),
            draw(batch, channels, *plane),
        ]
        return cls(*(t.to(device, dtype) for t in tensors))

    @property
    def tensors(self) -> list[Tensor]:
        return [self.input, self.offset, self.weight, self.bias, self.mask]

    @property
    def flop(self) -> float:
        return 2.0 * self.grad.numel() * self.weight[0].numel()

    def forward(self, side: str) -> Tensor:
        if side == CEILING:
            return torch.conv2d(self.input, self.weight, self.bias, padding=1)
        if side == OURS:
            return deform_conv2d(*self.tensors[:4], padding=1, mask=self.mask, backend="native")
        import torchvision

        return torchvision.ops.deform_conv2d(*self.tensors[:4], padding=1, mask=self.mask)

    def forward_backward(self, side: str) -> list[Tensor]:
        wanted = [self.input, self.weight, self.bias] if side == CEILING else self.tensors
        for tensor in wanted:
            tensor.requires_grad_()
        out = self.forward(side)
        grads = torch.autograd.grad(out, wanted, self.grad)
        for tensor in wanted:
            tensor.requires_grad_(False)
        return [out.detach(), *grads]

    def calls(self, backward: bool, threads: int) -> Calls:
        run = self.forward_backward if backward else self.forward
        sides = [OURS, CEILING]
        if find_spec("torchvision") and not (self.input.is_cuda and self.input.dtype == torch.bfloat16):
            sides.insert(1, PEER)
        calls: Calls = {side: lambda side=side: run(side) for side in sides}
        if self.input.is_cuda or self.input.dtype != torch.float32:
            return calls
        if not backward and find_spec("onnxruntime") and find_spec("onnx"):
            calls["onnxruntime"] = onnxruntime_call(*self.tensors, threads)
        if not backward and find_spec("openvino"):
            calls["openvino"] = openvino_call(*self.tensors, threads)
        return calls

    def first_picture(self) -> Problem:
        return Problem(*(t if t is self.weight or t is self.bias else t[:1] for t in (*self.tensors, self.grad)))


def check(problem: Problem, calls: Calls) -> None:
    """SystemExit unless ours is the float64 reference on a picture, with all gradients, and the sides agree."""
    one = problem.first_picture()
    exact = [t.detach().double().cpu().requires_grad_() for t in one.tensors]
    expected = deform_conv2d_reference(*exact[:4], padding=1, mask=exact[4])
    grads = torch.autograd.grad(expected, exact, one.grad.double().cpu())
    for got, reference in zip(one.forward_backward(OURS), (expected, *grads), strict=True):
        require_close(OURS, got, reference)
    result = problem.forward(OURS)
    for name, call in calls.items():
        if name != CEILING:
            require_close(name, torch.as_tensor(call()), result, peer=True)


def require_close(name: str, got: Tensor, reference: Tensor, *, peer: bool = False) -> None:
    tolerance = TOLERANCES.get(got.dtype, TOLERANCES[torch.float32])
    if got.is_cuda and got.dtype == torch.float32 and _native.tf32_allowed():
        tolerance = TF32
    if peer and got.dtype in (torch.float16, torch.bfloat16):
        tolerance = PEERS
    got, reference = got.detach().double().cpu(), reference.detach().double().cpu()
    error = float((got - reference).abs().max() / reference.square().mean().sqrt())
    if not error <= tolerance:
        raise SystemExit(f"{name} is off by {error:.2g} of the root mean square; no figures")


def measure(
    shape: tuple[int, ...], threads: int, rounds: int, seconds: float, device: str = "cpu", dtype: str = "float32"
) -> list[dict[str, Any]]:
    """Prints and returns the rows of one shape, dtype and number of threads."""
    problem = Problem.of(shape, getattr(torch, dtype), device)
    rows = []
    check(problem, problem.calls(False, threads))
    for backward in (False, True):
        calls = problem.calls(backward, threads)
        start = time.perf_counter()
        for call in calls.values():
            call()
        turn = 3 * (time.perf_counter() - start)
        count = max(1, min(rounds, int(seconds / turn) - 1))
        by_clock = {}
        if device == "cuda":
            times = cuda_turns(calls, count)
            found = {name: t.device_or_call for name, t in times.items()}
            by_clock = {"call_us": {name: 1e6 * t.call for name, t in times.items()}}
        else:
            found = take_turns(calls, count, wall=threads > 1)
        work = problem.flop * (3 if backward else 1)
        row = {
            "shape": shape,
            "dtype": dtype,
            "threads": threads,
            "pass": "forward+backward" if backward else "forward",
            **by_clock,
            "us": {name: 1e6 * s for name, s in found.items()},
            "gflop_s": {name: work / s / 1e9 for name, s in found.items()},
            "ratio": {name: s / found[OURS] for name, s in found.items() if name != OURS},
        }
        if PEER in found:
            row["limit"] = found[PEER] / found[CEILING]
        others = ", ".join(f"{n} {1e6 * s:.0f} ({s / found[OURS]:.2f}x)" for n, s in found.items() if n != OURS)
        print(
            f"{'x'.join(map(str, shape)):>12} {dtype} {threads} thread{'s' * (threads > 1)} {row['pass']:16} "
            f"{1e6 * found[OURS]:9.0f} us {row['gflop_s'][OURS]:6.1f} GFLOP/s; us of {others}",
            flush=True,
        )
        rows.append(row)
    return rows


def memory(shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """Extra bytes on one thread, and the allowed ones: a tenth of torchvision's column buffer, or 1 MB."""
    rows = []
    batch, channels, height, width = shape
    buffer = 4 * 9 * channels * height * width * batch
    for name in ("forward", "forward_backward"):
        sides = {side: extra_bytes(shape, name, side) for side in (OURS, PEER)}
        rows.append({"shape": shape, "pass": name, "bytes": sides, "column_buffer": buffer})
        print(
            f"{'x'.join(map(str, shape)):>12} extra memory {name:16} {sides[OURS] / 1e6:6.2f} MB, torchvision "
            f"{sides[PEER] / 1e6:7.2f} MB, a tenth of its column buffer {buffer / 1e7:5.2f} MB",
            flush=True,
        )
    return rows


def extra_bytes(shape: tuple[int, ...], name: str, side: str) -> int:
    # Blocks above 64 KB come from the system and go back to it, so that resident memory is memory in use.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, "--extra-bytes", json.dumps([shape, name, side])]
    return int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def print_extra_bytes(shape: tuple[int, ...], name: str, side: str) -> None:
    run = getattr(Problem.of(shape), name)

    def status(key: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))

    run(side)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status("VmRSS")
    results = run(side)
    kept = sum(t.nbytes for t in ([results] if isinstance(results, Tensor) else results))
    print(status("VmHWM") - before - kept)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Latency against size on one thread, one panel a pass."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for panel, name in zip(panels, ("forward", "forward+backward"), strict=True):
        chosen = [r for r in rows if r["pass"] == name and r["threads"] == 1 and r["shape"][0] == 1]
        for side in SIDES:
            for c, marker in ((128, "v"), (192, "o"), (320, "^")):
                same = [r for r in chosen if r["shape"][1] == c and side in r["us"]]
                points = [(r["shape"][2] * r["shape"][3], r["us"][side] / 1e3) for r in same]
                style = {"marker": marker, "color": f"C{SIDES.index(side)}", "label": side if c == 192 else None}
                if points:
                    panel.loglog(*zip(*points, strict=True), **style)
        panel.set(title=f"{name}, one thread, 128 (v), 192 (o), 320 (^) channels", xlabel="pixels of the latent")
        panel.set_ylabel("milliseconds")
        panel.grid(alpha=0.3)
        panel.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "float16", "bfloat16"], default=["float32"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="stop adding rounds to a shape and pass after this")
    parser.add_argument("--quick", action="store_true", help="the two shapes of the targets alone")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--extra-bytes", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.extra_bytes:
        torch.set_num_threads(1)
        return print_extra_bytes(*arguments.extra_bytes)
    peers = ["torchvision", *(name for name in ("onnxruntime", "openvino") if find_spec(name))]
    results: dict[str, Any] = {"environment": environment(*peers), "rows": []}
    print(", ".join(f"{k} {v}" for k, v in results["environment"].items() if k != "threads"))
    on_cuda = arguments.device == "cuda"
    if on_cuda:
        results["environment"]["device"] = torch.cuda.get_device_name()
    else:
        results["memory"] = [row for shape in TARGETS for row in memory(shape)]
    for threads in arguments.threads[:1] if on_cuda else arguments.threads:
        torch.set_num_threads(threads)
        for dtype in arguments.dtypes:
            for shape in TARGETS if arguments.quick else GRID:
                results["rows"] += measure(shape, threads, arguments.rounds, arguments.seconds, arguments.device, dtype)
    write_json(arguments.json, results)
    if arguments.plot:
        plot(results["rows"], arguments.plot)


if __name__ == "__main__":
    main()
