"""Files and folders in, one output each: what `compress` and `decompress` share."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pylatent._files import write_bytes
from pylatent.cli._report import EXIT_FAILED, bytes_text, complain, explain, misused

if TYPE_CHECKING:
    from rich.console import Console

STREAM = Path("-")


@dataclass(frozen=True)
class Job:
    """One input and the output that it becomes; `-` stands for standard input and output."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Done:
    """The bytes of an output, the size of its input, and the rest of the line that reports it."""

    data: bytes
    bytes_in: int
    remark: str


def find_jobs(inputs: list[Path], output: Path | None, new_suffix: str, is_input: Callable[[Path], bool]) -> list[Job]:
    """The jobs of a command line.

    A folder stands for all files below it that `is_input` accepts, hidden ones excepted. Without `output`, an output
    lies beside its input; otherwise `output` names the file, or for several inputs and for folders the folder, in
    which an input folder's structure is kept. Ends the command where that makes no sense.
    """
    many = len(inputs) > 1 or inputs[0].is_dir()
    if many and (STREAM in inputs or output == STREAM):
        raise misused("standard input and output ('-') carry one picture, not several")
    if many and output is not None and output.exists() and not output.is_dir():
        raise misused(f"-o must be a folder for several inputs, but {output} is a file")
    into = output if many or (output is not None and output.is_dir()) else None

    def target(source: Path, below: Path) -> Path:
        if into is not None:
            return (into / below).with_suffix(new_suffix)
        if output is not None:
            return output
        return STREAM if source == STREAM else source.with_suffix(new_suffix)

    jobs = []
    for given in inputs:
        if given.is_dir():
            found = [path for path in sorted(given.rglob("*")) if is_input(path) and path.is_file()]
            visible = [
                path for path in found if not any(part.startswith(".") for part in path.relative_to(given).parts)
            ]
            if not visible:
                raise misused(f"the folder {given} holds no file to work on")
            jobs += [Job(path, target(path, path.relative_to(given))) for path in visible]
        else:
            jobs.append(Job(given, target(given, Path(given.name))))
    return jobs


def shown(path: Path, direction: str = "input") -> str:
    """How messages call an input (or output)."""
    return f"standard {direction}" if path == STREAM else str(path)


def with_name(source: Path, message: str) -> str:
    """`message` with the input that it is about in front, unless it names it already."""
    return message if shown(source) in message else f"{shown(source)}: {message}"


def read_source(source: Path) -> bytes:
    """The bytes of an input file or of standard input; OSError."""
    return sys.stdin.buffer.read() if source == STREAM else source.read_bytes()


def check_target(target: Path) -> None:
    """Ends the command where binary data would go to a terminal."""
    if target == STREAM and sys.stdout.isatty():
        raise misused("not writing binary data to a terminal: give -o, or redirect standard output")


def run(
    jobs: list[Job],
    work: Callable[[Job, Callable[[str], None]], Done],
    *,
    doing: str,
    force: bool,
    quiet: bool,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Does the jobs one by one, reports each on stderr, and ends the command with exit code 1 if any failed.

    A failed job leaves no output and does not stop the others. No output file is overwritten without `force`, and
    never one that this very run has written. `work` may call its second argument with what the progress bar shall say.
    `stop` is asked after every job; true ends the command like Ctrl-C.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    sources: dict[Path, Path] = {}
    bytes_in = bytes_out = 0
    with _progress(console, len(jobs), hidden=quiet or not console.is_terminal) as show:
        for number, job in enumerate(jobs):
            if number and stop():
                raise KeyboardInterrupt
            show(number, f"{doing} {job.source.name[-40:]}")
            try:
                done = _do(job, partial(work, job, partial(show, number)), force, sources)
            except (KeyboardInterrupt, BrokenPipeError):
                raise
            except Exception as error:
                text = explain(error)
                complain(text if job.target != STREAM and str(job.target) in text else with_name(job.source, text))
            else:
                sources[job.target.resolve()] = job.source
                bytes_in, bytes_out = bytes_in + done.bytes_in, bytes_out + len(done.data)
                if not quiet:
                    console.print(f"{shown(job.source)} -> {shown(job.target, 'output')}  {done.remark}")
    failed = len(jobs) - len(sources)
    if len(jobs) > 1 and not quiet:
        console.print(
            f"{len(sources)} of {len(jobs)} files, {bytes_text(bytes_in)} -> {bytes_text(bytes_out)}"
            + (f"; {failed} failed" if failed else "")
        )
    if failed:
        raise typer.Exit(EXIT_FAILED)


@contextlib.contextmanager
def _progress(console: Console, total: int, *, hidden: bool) -> Iterator[Callable[[int, str], None]]:
    """A bar on stderr while the block runs; the function shows how many jobs are done and what is being done."""
    if hidden:
        yield lambda done, doing: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # stdout is not redirected: it carries data, or goes elsewhere than the bar.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=total)
        yield lambda done, doing: bar.update(task, completed=done, description=doing)


def _do(job: Job, work: Callable[[], Done], force: bool, sources: dict[Path, Path]) -> Done:
    if job.target != STREAM:
        earlier = sources.get(job.target.resolve())
        if earlier is not None:
            raise FileExistsError(f"{job.target} has just been made from {earlier}: give the inputs different names")
        if job.target.is_file() and not force:
            raise FileExistsError(f"{job.target} exists: --force overwrites it, -o names another output")
    done = work()
    if job.target == STREAM:
        sys.stdout.buffer.write(done.data)
        sys.stdout.buffer.flush()
    else:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(job.target, done.data)
    return done
