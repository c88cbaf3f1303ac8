"""Shards made by Ray Core tasks, one task a shard, on machines that share a file system."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from pylatent.archive.encode import make_shard
from pylatent.archive.report import ShardReport
from pylatent.errors import PylatentError

_IN_FLIGHT = 2  # tasks that are handed to Ray, per CPU that it has


def make_shards(
    folder: Path,
    numbers: Sequence[int],
    model: str,
    workers: int | None,
    advance: Callable[[int], None],
    max_pixels: int | None = None,
) -> Generator[tuple[int, ShardReport | str], None, None]:
    """Makes the shards; yields, as they are finished, each number with its report, or with why it could not be made.

    Ray runs on this machine alone, with `workers` CPUs, unless it runs already or RAY_ADDRESS names a cluster; then
    `workers` limits the tasks at a time. Archive, inputs and model must lie at the same paths on all its machines.
    Raises PylatentError if Ray is not installed.
    """
    if not numbers:
        return
    try:
        import ray
    except ImportError as error:
        raise PylatentError(f"--engine ray needs the extra: pip install 'pylatent[ray]' ({error})") from error
    started = not ray.is_initialized()
    if started:
        alone = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": workers, "include_dashboard": False}
        ray.init(log_to_driver=False, **alone)
    try:
        task = ray.remote(num_cpus=1)(_make)
        limit = workers or _IN_FLIGHT * int(ray.cluster_resources().get("CPU", 1))
        waiting: dict[Any, int] = {}
        todo = iter(numbers)
        while True:
            for number in todo:
                waiting[task.remote(os.path.abspath(folder), number, model, max_pixels)] = number
                if len(waiting) >= limit:
                    break
            if not waiting:
                return
            for done in ray.wait(list(waiting))[0]:
                number = waiting.pop(done)
                try:
                    report: ShardReport = ray.get(done)
                except ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", None) or error
                    yield number, f"{type(cause).__name__}: {str(cause).strip().splitlines()[0]}"
                else:
                    advance(report.planned)
                    yield number, report
    finally:
        if started:
            ray.shutdown()


def _make(folder: str, number: int, model: str, max_pixels: int | None) -> ShardReport:
    """A Ray task; the codec stays loaded in its process for the next one."""
    import torch

    from pylatent import zoo

    torch.set_num_threads(1)
    return make_shard(zoo.shared(model), Path(folder), number, max_pixels=max_pixels)
