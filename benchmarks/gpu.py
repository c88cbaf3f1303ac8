"""Everything that a CUDA device can tell about the operators, in a few minutes: build, tests, sanitizers, times.

    python benchmarks/gpu.py [--minutes 5] [--json FILE] [--stages build tests sanitizers operators]

In this order, so that a machine taken away early has told what matters most; the file is written anew after every step
and every row. `build` says what is installed and computes one call on the device. `tests` runs the operators' tests on
it. `sanitizers` runs every operator, on odd shapes and both ways, under compute-sanitizer's memcheck and racecheck.
`operators` times each against its peers on the shapes of docs/cuda-report.md: the device's time by graph replay, and
the time of a call with its launches. A step that fails is noted with its reason, and the next one begins; the exit
status is 1 then. Needs a CUDA device; torchvision and compute-sanitizer are used where they are.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from harness import environment, write_json

import pylatent
from pylatent import _native, ops
from pylatent.codecs.exact import ExactNetwork
from pylatent.codecs.exact_layer import ExactLayer

SOURCE = Path(__file__).parents[1]
TESTED = ["tests/ops", "tests/layers", "tests/refine", "tests/entropy", "tests/codecs"]
Row = dict[str, Any]


class Deadline:
    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        return self.end - time.monotonic()


class Report:
    """Results that are in the file as soon as they are known."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.found: dict[str, Any] = {"environment": environment(), "stages": {}, "rows": []}

    def stage(self, name: str, outcome: Row) -> None:
        self.found["stages"][name] = outcome
        self.write()

    def rows(self, rows: list[Row]) -> None:
        self.found["rows"] += rows
        self.write()

    def write(self) -> None:
        if self.path is not None:
            partial = self.path.with_name(self.path.name + ".part")
            write_json(partial, self.found)
            partial.replace(self.path)


def build(report: Report, deadline: Deadline) -> Row:
    """What is installed, and one native call."""
    y, weight = torch.ones(1, 8, 4, 4, device="cuda"), torch.eye(8, device="cuda")
    out = ops.gated_fusion(y, y, weight, weight, backend="native")
    error = float((out - torch.sigmoid(y)).abs().max())
    if not error < 1e-3:
        raise RuntimeError(f"a gated fusion of ones is off by {error:.3g}")
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "l2_bytes": getattr(properties, "L2_cache_size", None),
        "cuda": torch.version.cuda,
        "tf32": _native.tf32_allowed(),
    }


def tests(report: Report, deadline: Deadline) -> Row:
    """The tests that need a device, on several processes where pytest-xdist is installed."""
    # not `-m pytest`, which would put the source tree, without native module, before the installed package
    command = [
        str(Path(sys.executable).with_name("pytest")),
        "-q",
        *TESTED,
        "-k",
        "cuda and not emulated",
        "-p",
        "no:cacheprovider",
    ]
    if find_spec("xdist"):
        command += ["-n", "auto"]
    output, code = run(command, deadline)
    failed = re.findall(r"^FAILED (\S+)", output, re.M)
    summary = next((line for line in reversed(output.splitlines()) if " in " in line), "")
    if code != 0:
        raise RuntimeError(f"{summary or output[-500:]}: {', '.join(failed) or f'exit status {code}'}")
    return {"summary": summary.strip("= ")}


def sanitizers(report: Report, deadline: Deadline) -> Row:
    """compute-sanitizer over every operator."""
    tool = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if tool is None:
        raise RuntimeError("compute-sanitizer was not found; it comes with the CUDA toolkit")
    found = {}
    for check in ("memcheck", "racecheck"):
        command = [tool, "--tool", check, "--error-exitcode", "9", sys.executable, __file__, "--run-all-operators"]
        output, code = run(command, deadline)
        if code != 0:
            raise RuntimeError(f"{check} ended with status {code}: {output[-1000:]}")
        found[check] = next((line.strip("= ") for line in output.splitlines() if "SUMMARY" in line), "no summary")
    return found


def operators(report: Report, deadline: Deadline) -> Row:
    """Rows as the benchmarks of the operators make them, as many as there is time for; float32 as TF32 on all sides."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    left_out = []
    for name, measure in measurements():
        if deadline.left() < 10:
            left_out.append(name)
            continue
        try:
            report.rows([{"operator": name.split(",")[0], **row} for row in measure()])
        except (RuntimeError, SystemExit) as error:  # the next one may run
            report.rows([{"operator": name, "error": str(error)}])
    failed = sum("error" in row for row in report.found["rows"])
    if failed:
        raise RuntimeError(f"{failed} measurements failed, see the rows with an error")
    return {"left out for want of time": left_out}


def measurements() -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """The shapes that were measured on an H200 first (benchmarks/results/gpu-h200.json)."""
    import bench_deform_conv2d
    import bench_gated_fusion
    import elementwise
    import integer_cuda
    from bench_gaussian_bits import GaussianBits
    from bench_sga import SgaSample

    def gated_fusion(shape: tuple[int, ...], dtype: str, layout: str, compiled: bool) -> list[Row]:
        options = Namespace(device="cuda", rounds=7, seconds=1.0, no_compile=not compiled)
        return bench_gated_fusion.measure(shape, options, threads=1, dtype=dtype, layout=layout)

    def deform_conv2d(shape: tuple[int, ...], dtype: str) -> list[Row]:
        return bench_deform_conv2d.measure(shape, 1, 7, 1.0, "cuda", dtype)

    def by_element(subject: elementwise.Subject, shape: tuple[int, ...], dtype: str) -> list[Row]:
        options = Namespace(device="cuda", rounds=7, seconds=1.0, no_compile=True)
        return elementwise.measure(subject, shape, dtype, 1, options)

    small, middle, large, many = (1, 192, 14, 14), (1, 192, 32, 48), (1, 192, 68, 120), (64, 192, 68, 120)
    for shape, dtype in [
        (middle, "float32"),
        ((8, 192, 32, 48), "float16"),
        ((8, 192, 32, 48), "float32"),
        ((1, 320, 68, 120), "float16"),
        (middle, "bfloat16"),
        (small, "float32"),
    ]:
        yield f"deform_conv2d, {shape}, {dtype}", lambda shape=shape, dtype=dtype: deform_conv2d(shape, dtype)
    for shape, dtype, compiled in [
        (small, "bfloat16", True),
        ((1, 320, 32, 48), "bfloat16", True),
        ((64, 320, 32, 48), "bfloat16", True),
        (large, "float32", False),
        ((64, 192, 14, 14), "float16", False),
    ]:
        for layout in ("nchw", "nhwc"):
            make = lambda shape=shape, dtype=dtype, layout=layout, compiled=compiled: gated_fusion(  # noqa: E731
                shape, dtype, layout, compiled
            )
            yield f"gated_fusion, {shape}, {dtype}, {layout}", make
    for method, classes, shape, dtype in [
        ("linear", 3, middle, "float32"),
        ("ssl", 2, middle, "float32"),
        ("ssl", 3, many, "float32"),
        ("linear", 3, many, "bfloat16"),
    ]:
        subject = SgaSample(method, classes)
        make = lambda subject=subject, shape=shape, dtype=dtype: by_element(subject, shape, dtype)  # noqa: E731
        yield f"sga_sample, {method}, {classes} classes, {shape}, {dtype}", make
    for shape in (middle, many):
        yield f"gaussian_bits, {shape}", lambda shape=shape: by_element(GaussianBits(), shape, "float32")
    for measure in (integer_cuda.exact_layer, integer_cuda.hyper_synthesis, integer_cuda.synthesis):
        yield f"integer_conv, {measure.__name__}", lambda measure=measure: measure(7)


def run(command: list[str], deadline: Deadline) -> tuple[str, int]:
    """What a command wrote, and its exit status; RuntimeError if it takes longer than there is time."""
    try:
        done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, timeout=max(1.0, deadline.left()))
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"`{' '.join(command[:4])} ...` did not end in time") from error
    return done.stdout + done.stderr, done.returncode


def run_all_operators() -> None:
    """Every operator on odd shapes, in all dtypes, both ways: what the sanitizers watch."""
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):

        def draw(*shape: int, dtype: torch.dtype = dtype) -> torch.Tensor:
            return torch.randn(*shape, device="cuda").to(dtype).requires_grad_()

        for b, cy, cs, c, h, w in ((1, 72, 40, 56, 5, 7), (2, 13, 200, 130, 3, 9), (4, 192, 192, 192, 64, 64)):
            inputs = draw(b, cy, h, w), draw(b, cs, h, w), draw(c, cy), draw(c, cs), draw(c), draw(c)
            ops.gated_fusion(*inputs, backend="native").sum().backward()
        for b, ci, co, h, w, groups, offset_groups, k in (
            (1, 16, 24, 7, 9, 1, 1, 3),
            (2, 12, 8, 6, 5, 2, 2, 3),
            (1, 64, 72, 12, 13, 1, 1, 5),
        ):
            taps = offset_groups * k * k
            x, offset, weight = draw(b, ci, h, w), draw(b, 2 * taps, h, w), draw(co, ci // groups, k, k)
            mask = draw(b, taps, h, w)
            out = ops.deform_conv2d(x, offset, weight, draw(co), padding=k // 2, mask=mask, backend="native")
            out.sum().backward()
        for n in (1, 1023, 4099):
            for method, classes in (("linear", 3), ("ssl", 2), ("ssl", 3), ("atanh", 2), ("cosine", 3)):
                ops.sga_sample(draw(n), 0.5, method=method, classes=classes, backend="native").sum().backward()
            scales = torch.rand(n, device="cuda").add(0.1).to(dtype).requires_grad_()
            ops.gaussian_bits(draw(n), scales, backend="native").sum().backward()
    integer_convolutions()
    torch.cuda.synchronize()


def integer_convolutions() -> None:
    """Both kinds of numbers, small and large tiles, phases, borders."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randint(-900, 901, shape, generator=generator).double()

    for height, width in ((5, 7), (70, 130)):
        layers = (
            ExactLayer(draw(40, 33, 5, 5), draw(33), 2, 2, 1, True, 10),
            ExactLayer(draw(50, 33, 3, 3), draw(50), 1, 1, 0, False, 1 << 10),
        )
        ExactNetwork(layers)(draw(2, 40, height, width).cuda())
    codec = pylatent.load("default-2").cuda()
    for shape in ((2, 256, 3, 5), (1, 256, 20, 33)):
        for network in (codec._ready().synthesis, codec.receivers["light"].synthesis):
            network(torch.randn(shape, device="cuda"), [4.0] * shape[0])


STAGES: dict[str, Callable[[Report, Deadline], Row]] = {
    "build": build,
    "tests": tests,
    "sanitizers": sanitizers,
    "operators": operators,
}


def run_stages(names: list[str], report: Report, deadline: Deadline) -> bool:
    """Whether all of them did what they should; each outcome is written as soon as it is known."""
    fine = True
    for name in names:
        start = time.monotonic()
        try:
            outcome = {"ok": True, **STAGES[name](report, deadline)}
        except RuntimeError as error:
            outcome, fine = {"ok": False, "reason": str(error)}, False
        outcome["seconds"] = round(time.monotonic() - start, 1)
        report.stage(name, outcome)
        print(f"{name}: {outcome}", flush=True)
    return fine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--run-all-operators", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit(f"this needs a CUDA device, and torch {torch.__version__} finds none")
    if (reason := _native.why_not_native(torch.empty(0, device="cuda"), (torch.float32,))) is not None:
        raise SystemExit(f"this needs the native CUDA kernels: {reason}; install with PYLATENT_CUDA=ON")
    if arguments.run_all_operators:
        run_all_operators()
        return 0
    deadline = Deadline(60 * arguments.minutes)
    return 0 if run_stages([s for s in STAGES if s in arguments.stages], Report(arguments.json), deadline) else 1


if __name__ == "__main__":
    sys.exit(main())
