"""Measuring against peers: the sides take turns on the same inputs in one process, and results name what ran."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, NamedTuple

import torch

import pylatent
from pylatent import _native

_CALLS_IN_A_TURN = 3
_CALLS_IN_A_GRAPH = 10


def take_turns(calls: dict[str, Callable[[], Any]], rounds: int, *, wall: bool = False) -> dict[str, float]:
    """Median seconds of each call over the rounds, in each of which every side makes three calls in a row, as when one
    picture follows another: the median is of warm caches and recycled memory. Rounds have random orders, so that no
    side always finds what the same other one left. One more round warms up.

    Seconds of processor time, which other processes on the machine disturb less: for calls that run on one thread.
    With `wall`, seconds by the clock, for calls on several threads: these need a quiet machine.
    """
    if not wall and torch.get_num_threads() != 1:
        raise ValueError(f"calls must run on one thread, torch has {torch.get_num_threads()}")
    now = time.perf_counter if wall else time.process_time
    times: dict[str, list[float]] = {name: [] for name in calls}
    names, order = list(calls), Random(0)
    for turn in range(rounds + 1):
        order.shuffle(names)
        for name in names:
            call = calls[name]
            for _ in range(_CALLS_IN_A_TURN):
                start = now()
                call()
                if turn:
                    times[name].append(now() - start)
    return {name: median(values) for name, values in times.items()}


class CudaTimes(NamedTuple):
    """Median seconds: of the device alone, None where a call cannot be captured, and by the clock with all launches."""

    device: float | None
    call: float

    @property
    def device_or_call(self) -> float:
        return self.call if self.device is None else self.device


def cuda_turns(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, CudaTimes]:
    """Times of each call on a CUDA device, the sides taking turns: a graph of ten calls is replayed for the device's,
    ten calls in a row and a wait are timed for the other. One more round warms up."""
    graphs = {name: _captured(call) for name, call in calls.items()}
    device: dict[str, list[float]] = {name: [] for name in calls}
    by_clock: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            if (graph := graphs[name]) is not None:
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                graph.replay()
                end.record()
                end.synchronize()
                if turn:
                    device[name].append(start.elapsed_time(end) / 1e3 / _CALLS_IN_A_GRAPH)
            torch.cuda.synchronize()
            began = time.perf_counter()
            for _ in range(_CALLS_IN_A_GRAPH):
                call()
            torch.cuda.synchronize()
            if turn:
                by_clock[name].append((time.perf_counter() - began) / _CALLS_IN_A_GRAPH)
    return {name: CudaTimes(median(device[name]) if device[name] else None, median(by_clock[name])) for name in calls}


def _captured(call: Callable[[], Any]) -> torch.cuda.CUDAGraph | None:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            for _ in range(_CALLS_IN_A_GRAPH):
                call()
    except RuntimeError:  # the call waits for the device
        torch.cuda.synchronize()
        return None
    return graph


def environment(*packages: str) -> dict[str, Any]:
    """Versions of what runs, the processor and the SIMD level; `packages` are distributions to look up."""
    found = {name: importlib.metadata.version(name) for name in packages}
    return {
        "pylatent": pylatent.__version__,
        "torch": torch.__version__,
        **found,
        "python": platform.python_version(),
        "processor": _processor(),
        "simd": None if _native.why_not_native() else _native.core().simd,
        "threads": torch.get_num_threads(),
    }


def write_json(path: Path | None, results: dict[str, Any]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {key.strip(): value.strip() for key, value in fields.items()}
    if "model name" in names:
        return f"{names['model name']}, family {names.get('cpu family')}, model {names.get('model')}"
    return platform.processor() or platform.machine()
