"""Files in, one output each: what `compress` and `decompress` share once it is planned what becomes of every file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import typer

from pylatent._files import write_bytes
from pylatent.cli._inputs import STREAM, shown, with_name
from pylatent.cli._plan import Job, Plan
from pylatent.cli._progress import progress
from pylatent.cli._report import EXIT_FAILED, bytes_text, complain, explain, write_output

if TYPE_CHECKING:
    from rich.console import Console

Say = Callable[[str], None]


@dataclass(frozen=True)
class Coded:
    """The bytes of an output, the size of its input, and the rest of the line that reports it."""

    data: bytes
    bytes_in: int
    remark: str


Work = Callable[[Job, Say], Coded]


class Recipe(Protocol):
    """How to do the jobs. Can be pickled, and so be sent to other processes."""

    def ready(self) -> Work:
        """Loads what is needed; the function that it returns may call its second argument to say what it does."""


@dataclass(frozen=True)
class Outcome:
    """What came of a job: sizes and the line that reports it, or why it failed; and what was said meanwhile."""

    bytes_in: int = 0
    bytes_out: int = 0
    remark: str = ""
    failure: str | None = None
    said: str = ""


def run(
    plan: Plan,
    recipe: Recipe,
    *,
    doing: str,
    quiet: bool,
    jobs: int = 1,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Does the jobs, reports on stderr what becomes of every file, and ends the command with exit code 1 if any failed.

    A failed job leaves no output and does not stop the others. With several processes everything is said, and every
    file written, as with one. `stop` is asked after every job; true ends the command like Ctrl-C.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    for remark in () if quiet else plan.skipped:
        console.print(f"{shown(remark.source)} skipped: {remark.reason}")
    for remark in plan.failed:
        complain(with_name(remark.source, remark.reason))
    done = bytes_in = bytes_out = 0
    with progress(doing, quiet=quiet) as show:
        say = partial(show, None, None)
        show(0, len(plan.jobs))
        outcomes = _in_processes(plan.jobs, recipe, jobs) if jobs > 1 else _one_by_one(plan.jobs, recipe, doing, say)
        for number, (job, outcome) in enumerate(zip(plan.jobs, outcomes, strict=True), 1):
            show(number)
            sys.stderr.write(outcome.said)
            if outcome.failure is not None:
                text = outcome.failure
                complain(text if job.target != STREAM and str(job.target) in text else with_name(job.source, text))
            else:
                done += 1
                bytes_in, bytes_out = bytes_in + outcome.bytes_in, bytes_out + outcome.bytes_out
                if not quiet:
                    console.print(f"{shown(job.source)} -> {shown(job.target, 'output')}  {outcome.remark}")
            if number < len(plan.jobs) and stop():
                raise KeyboardInterrupt
    failed = len(plan.failed) + len(plan.jobs) - done
    if plan.total > 1 and not quiet:
        _summarize(console, plan, done, failed, bytes_in, bytes_out)
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _summarize(console: Console, plan: Plan, done: int, failed: int, bytes_in: int, bytes_out: int) -> None:
    console.print(
        f"{done} of {plan.total} files"
        + (f", {bytes_text(bytes_in)} -> {bytes_text(bytes_out)}" if done else "")
        + (f"; {len(plan.skipped)} skipped" if plan.skipped else "")
        + (f"; {failed} failed" if failed else "")
    )


def _one_by_one(jobs: list[Job], recipe: Recipe, doing: str, say: Say) -> Iterator[Outcome]:
    if not jobs:
        return
    work = recipe.ready()
    for job in jobs:
        say(f"{doing} {job.source.name[-40:]}")
        yield do(job, work, say)


def _in_processes(jobs: list[Job], recipe: Recipe, processes: int) -> Iterator[Outcome]:
    from pylatent.cli._parallel import outcomes

    return outcomes(jobs, recipe, min(processes, len(jobs)))


def do(job: Job, work: Work, say: Say) -> Outcome:
    """Does one job, the output included; a failure is an outcome, too."""
    try:
        coded = work(job, say)
        if job.target == STREAM:
            write_output(coded.data)
        else:
            job.target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(job.target, coded.data)
    except BrokenPipeError:
        raise
    except Exception as error:
        return Outcome(failure=explain(error))
    return Outcome(coded.bytes_in, len(coded.data), coded.remark)
