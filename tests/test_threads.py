"""One thread team per process, torch's own, that survives fork, spawn, exceptions and absurd counts."""

from __future__ import annotations

import multiprocessing
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from pylatent import _native

pytestmark = pytest.mark.skipif(_native.why_not_native() is not None, reason=str(_native.why_not_native()))
linux = pytest.mark.skipif(sys.platform != "linux", reason="torch's OpenMP runtime is shared on Linux only")
OPENMP = re.compile(r"/[^/\s]*(?:gomp|iomp|libomp)[^/\s]*$")


@pytest.fixture(autouse=True)
def several_threads() -> Iterator[None]:
    """Also where the tests' process has been given one."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    yield
    torch.set_num_threads(before)


def probe(n: int, threads: int, **options: float) -> tuple[int, int]:
    return _native.core().parallel_probe(n, threads, **options)


def use_all_threads() -> None:
    """A parallel region of torch's and one of ours, so that the team exists."""
    torch.sigmoid(torch.rand(1 << 20))
    assert probe(1000, 2)[0] == 1000


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("n", [0, 1, 2, 100_000])
def test_every_iteration_runs_once(n: int, threads: int) -> None:
    done, members = probe(n, threads)
    assert done == n
    assert min(n, 1) <= members <= min(max(n, 1), threads)


def test_several_threads_take_part() -> None:
    assert any(probe(2_000_000, 2)[1] == 2 for _ in range(20))


def test_absurd_thread_count_is_bounded() -> None:
    assert probe(1000, 2**31 - 1)[0] == 1000


@pytest.mark.parametrize("threads", [1, 2])
def test_exception_reaches_the_caller(threads: int) -> None:
    with pytest.raises(RuntimeError, match="iteration 500 failed"):
        probe(100_000, threads, fail_at=500)
    assert probe(1000, threads)[0] == 1000


def test_bad_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="`threads` must lie between 1 and 2147483647, got 0"):
        probe(1, 0)
    with pytest.raises(ValueError, match="`threads` must be at least 1, got 0"):
        _native.thread_count(0)


def test_a_short_loop_stays_on_one_thread() -> None:
    """It would wait for a busy core longer than it takes."""
    least = _native.core().least_work
    assert all(probe(200_000, 2, nanoseconds=least - 1) == (200_000, 1) for _ in range(20))
    assert any(probe(2_000_000, 2, nanoseconds=least)[1] == 2 for _ in range(20))


def test_concurrent_callers() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert [done for done, _ in pool.map(lambda _: probe(10_000, 2), range(40))] == [10_000] * 40


@linux
def test_one_openmp_runtime_is_mapped_and_shared() -> None:
    """In a process of its own: wheels of other packages that tests import, such as scikit-learn's, bring a runtime."""
    queue: multiprocessing.Queue = multiprocessing.get_context("spawn").Queue()
    worker = multiprocessing.get_context("spawn").Process(target=report_runtimes, args=(queue,), daemon=True)
    worker.start()
    mapped, runtime = queue.get(timeout=60)
    worker.join(timeout=60)
    assert len(mapped) == 1
    assert runtime == f"OpenMP ({mapped.pop()})"


def report_runtimes(queue: multiprocessing.Queue) -> None:
    use_all_threads()
    lines = Path("/proc/self/maps").read_text().splitlines()
    queue.put(({match.string.split()[-1] for line in lines if (match := OPENMP.search(line))}, runtime_name()))


def runtime_name() -> str:
    return _native.core().thread_runtime()


def report(queue: multiprocessing.Queue) -> None:
    queue.put((probe(100_000, 2)[0], runtime_name()))


@pytest.mark.parametrize("method", [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers(method: str) -> None:
    """A forked child inherits the runtime's state without its threads, and must not wait for them."""
    use_all_threads()
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    worker = context.Process(target=report, args=(queue,), daemon=True)
    worker.start()
    done, runtime = queue.get(timeout=60)
    worker.join(timeout=60)
    assert worker.exitcode == 0
    assert done == 100_000
    if method == "fork":
        assert runtime.startswith("std::thread")


def test_works_where_torch_is_not_loaded() -> None:
    """No OpenMP runtime in the process: nothing is missing at import, and std::threads do the work."""
    script = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("pylatent._C", {_native.core().__file__!r})
core = importlib.util.module_from_spec(spec)
spec.loader.exec_module(core)
assert "torch" not in sys.modules
assert core.thread_runtime().startswith("std::thread"), core.thread_runtime()
assert core.parallel_probe(100_000, 3)[0] == 100_000
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@linux
def test_alternating_with_torch_is_not_slowed_down() -> None:
    """Competing thread pools cost milliseconds per alternation, one shared team microseconds.

    A busy machine only ever makes it slower, so the best of many short rounds counts.
    """
    x = torch.rand(1 << 17)

    def median_us(ours: bool) -> float:
        times = []
        for _ in range(15):
            start = time.perf_counter()
            torch.sigmoid(x)
            if ours:
                probe(16, torch.get_num_threads())
            times.append(time.perf_counter() - start)
        return 1e6 * statistics.median(times)

    alone = min(median_us(ours=False) for _ in range(4))
    assert any(median_us(ours=True) < alone + 500 for _ in range(50))
