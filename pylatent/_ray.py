"""Numbered jobs done by Ray Core tasks, on machines that share a file system."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from pylatent.errors import PylatentError

_IN_FLIGHT = 2  # tasks that are handed to Ray, per CPU that it has

_Report = TypeVar("_Report")


def do_jobs(
    job: Callable[..., _Report], arguments: Sequence[Any], numbers: Sequence[int], workers: int | None
) -> Generator[tuple[int, _Report | str], None, None]:
    """Does the jobs; yields, as they are finished, each number with its report, or with why it could not be done.

    job: a function of a module, called with a number and then `arguments`; what it loads may stay in its process.

    Ray runs on this machine alone, with `workers` CPUs, unless it runs already or RAY_ADDRESS names a cluster; then
    `workers` limits the tasks at a time. Files must lie at the same paths on all its machines. Raises PylatentError if
    Ray is not installed.
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
        task = ray.remote(num_cpus=1)(job)
        limit = workers or _IN_FLIGHT * int(ray.cluster_resources().get("CPU", 1))
        waiting: dict[Any, int] = {}
        todo = iter(numbers)
        while True:
            for number in todo:
                waiting[task.remote(number, *arguments)] = number
                if len(waiting) >= limit:
                    break
            if not waiting:
                return
            for done in ray.wait(list(waiting))[0]:
                number = waiting.pop(done)
                try:
                    report: _Report = ray.get(done)
                except ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", None) or error
                    yield number, f"{type(cause).__name__}: {str(cause).strip().splitlines()[0]}"
                else:
                    yield number, report
    finally:
        if started:
            ray.shutdown()
