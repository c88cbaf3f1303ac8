"""One thread against two, on a machine that is idle and on one that another process keeps busy.

    python benchmarks/bench_threads.py [--seconds 3] [-o RESULT.json]

compress, decompress, a step of refinement (its readings included) and load, at 64x64, 224x224 and 768x512 with the
default model. The two thread counts take turns, call by call; a time is the median by the clock, a ratio the median of
those of neighbouring calls. The busy process counts without end: "pinned" to the first core that this process may use,
or "free" to move. What other processes take of the machine besides is measured, too, in cores: a table of times by the
clock is worth nothing without it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from harness import environment, write_json
from torch import Tensor

import pylatent
from pylatent import images
from pylatent.refine import Plan

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "leaves.png"
SIZES = {"64x64": (64, 64), "224x224": (224, 224), "768x512": (512, 768)}
LOADS = ("idle", "pinned", "free")
STEPS = 4
FEWEST = 3  # calls a side


def picture(height: int, width: int) -> Tensor:
    """(3, height, width) uint8, from the middle of the demo's photograph."""
    photo = images.read(PHOTO).tensor
    top, left = (photo.shape[1] - height) // 2, (photo.shape[2] - width) // 2
    return photo[:, top : top + height, left : left + width].contiguous()


def jobs(pixels: Tensor | None) -> dict[str, tuple[Callable[[], Any], int]]:
    """What is timed, and how many units of it a call does."""
    if pixels is None:
        return {"load": (lambda: pylatent.load("default"), 1)}
    data = pylatent.compress(pixels)
    return {
        "compress": (lambda: pylatent.compress(pixels), 1),
        "decompress": (lambda: pylatent.decompress(data, as_tensor=True), 1),
        "refine step": (lambda: pylatent.compress(pixels, refine=Plan(steps=STEPS)), STEPS),
    }


@contextlib.contextmanager
def busy(load: str) -> Iterator[None]:
    """A process that spins meanwhile; none if `load` is "idle"."""
    if load == "idle":
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        if load == "pinned":
            os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
        time.sleep(0.2)
        yield
    finally:
        process.kill()
        process.wait()


def busy_ticks() -> int:
    """Ticks of all cores that were not idle, since the machine started."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8])
    return user + nice + system + sum(rest)


def measure(call: Callable[[], Any], seconds: float) -> dict[str, float]:
    """Median seconds on one thread and on two, their ratio, and the cores that all other processes kept busy."""
    times: dict[int, list[float]] = {1: [], 2: []}
    begin, ticks, mine = time.perf_counter(), busy_ticks(), time.process_time()
    while len(times[2]) < FEWEST + 1 or time.perf_counter() - begin < seconds:
        for threads in (1, 2) if len(times[2]) % 2 else (2, 1):
            torch.set_num_threads(threads)
            start = time.perf_counter()
            call()
            times[threads].append(time.perf_counter() - start)
    others = (busy_ticks() - ticks) / os.sysconf("SC_CLK_TCK") - (time.process_time() - mine)
    one, two = times[1][1:], times[2][1:]
    ratio = median(b / a for a, b in zip(one, two, strict=True))
    others /= time.perf_counter() - begin
    return {"one": median(one), "two": median(two), "ratio": ratio, "others": others, "calls": len(one)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3, help="of each cell")
    parser.add_argument("--loads", nargs="*", choices=LOADS, default=LOADS)
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    about = environment()
    about["threads"] = [1, 2]
    result: dict[str, Any] = {"environment": about, "cores": len(os.sched_getaffinity(0)), "rows": []}
    print(", ".join(f"{key} {value}" for key, value in about.items()), f"{result['cores']} cores")
    pylatent.load("default")
    for size in [*options.sizes, None]:
        for job, (call, units) in jobs(None if size is None else picture(*SIZES[size])).items():
            for load in options.loads:
                with busy(load):
                    found = measure(call, options.seconds)
                one, two = (1e3 * found[side] / units for side in ("one", "two"))
                row = {"job": job, "size": size, "load": load, "milliseconds": {"1": one, "2": two}}
                row |= {name: found[name] for name in ("ratio", "others", "calls")}
                result["rows"].append(row)
                name = f"{job} {size or ''}"
                print(
                    f"{name:20} {load:7} {one:8.1f} {two:8.1f} ms  {row['ratio']:5.2f}  others {row['others']:.2f}",
                    flush=True,
                )
    worst = max(result["rows"], key=lambda row: row["ratio"])
    print(f"slowest on two threads: {worst['job']} {worst['size']} {worst['load']}, {worst['ratio']:.2f} times one's")
    write_json(options.output, result)


if __name__ == "__main__":
    main()
