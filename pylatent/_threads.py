"""How many CPU threads a piece of work gets: one if it is small, and no more than there are cores free.

A parallel loop ends when its last thread does. Where another process has the core that one of them needs, the others
wait for the scheduler, 3 to 10 ms a loop: a picture of 64x64, with some forty loops of 100 us, took 25 times as long on
two threads as on one, and one of 768x512 twice as long (benchmarks/bench_threads.py). So torch's number of threads is
what a picture gets at most.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch

from pylatent import _native

SMALL = 1 << 16
"""Pictures of fewer pixels stay on one thread: 256x256 takes one some 30 ms, of which a second could save 10."""


@contextmanager
def using(count: int) -> Iterator[None]:
    """`count` CPU threads for torch and for us, in the calling thread alone where torch's OpenMP runtime allows it.

    Raises ValueError if `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"`threads` must be at least 1, got {count}")
    before = torch.get_num_threads()  # with which torch makes its own settings for a thread, at first use
    former = None if _native.why_not_native() else _native.core().set_thread_counts(count, count)
    if former is None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if former is None:
            torch.set_num_threads(before)
        else:
            _native.core().set_thread_counts(*former)


def at_most(count: int) -> AbstractContextManager[None]:
    """`using`, if these are fewer than there would be."""
    return using(count) if count < torch.get_num_threads() else nullcontext()


def for_pixels(pixels: int) -> AbstractContextManager[None]:
    """The threads that work on so many pixels deserves: one for few, else as many as there are cores free."""
    if torch.get_num_threads() == 1 or torch.compiler.is_compiling():
        return nullcontext()
    return at_most(1 if pixels < SMALL else max(1, free_cores()))


def free_cores(proc: Path = Path("/proc")) -> int:
    """Cores that no other process is using at this moment; sys.maxsize where the system does not say (not Linux)."""
    try:
        running = int((proc / "loadavg").read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return sys.maxsize
    others = running - 1
    if others > 0:  # among them may be the team of our last loop, which spins for some milliseconds in case of another
        others = running - max(1, _running_threads(proc / "self" / "task"))
    return (os.cpu_count() or 1) - max(0, others)


def _running_threads(tasks: Path) -> int:
    """Threads of this process that run or wait for a core."""
    running = 0
    for task in tasks.iterdir():
        try:
            running += (task / "stat").read_text().rpartition(")")[2].split()[0] == "R"
        except OSError:  # it has ended
            continue
    return running
