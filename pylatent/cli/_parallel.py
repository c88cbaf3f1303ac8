"""Jobs shared by processes, each with one thread; whatever they say and make comes in the order of the jobs."""

from __future__ import annotations

import base64
import contextlib
import io
import pickle
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from pylatent._processes import Lines, Process
from pylatent.cli._batch import Outcome, Recipe, do
from pylatent.cli._plan import Job


def outcomes(jobs: list[Job], recipe: Recipe, processes: int) -> Iterator[Outcome]:
    """What comes of every job. A process that dies fails its job, and is replaced; none outlives the iterator."""
    first = base64.b64encode(pickle.dumps((recipe, jobs))).decode()
    crew = [Process("pylatent.cli._parallel") for _ in range(processes)]
    idle: queue.SimpleQueue[Process] = queue.SimpleQueue()
    for process in crew:
        idle.put(process)

    def one(number: int) -> Outcome:
        process = idle.get()
        try:
            line = str(number) if process.is_running else f"{first}\n{number}"
            for answer in process.ask(line):
                return Outcome(**answer)
            return Outcome(failure=f"its process ended with code {process.end()}")
        finally:
            idle.put(process)

    pool = ThreadPoolExecutor(processes)
    try:
        yield from pool.map(one, range(len(jobs)))
    except BaseException:
        for process in crew:
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        for process in crew:
            process.end()


def _work() -> None:
    """One of the processes: the recipe and all jobs come in, then numbers of jobs; outcomes go out."""
    lines = Lines()
    import torch

    from pylatent.cli._report import show_warnings

    torch.set_num_threads(1)
    show_warnings()
    recipe, jobs = pickle.loads(base64.b64decode(lines.take()))
    work = recipe.ready()
    while True:
        job = jobs[int(lines.take())]
        with contextlib.redirect_stderr(io.StringIO()) as said:
            outcome = do(job, work, lambda doing: None)
        lines.say(**{**asdict(outcome), "said": said.getvalue()})


if __name__ == "__main__":
    _work()
