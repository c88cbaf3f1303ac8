"""`pylatent classify`: labels of archives and .lat files; pixels are never decoded."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pylatent.cli._report import EXIT_FAILED, complain, failures_reported, misused

if TYPE_CHECKING:
    from rich.progress import Progress


@dataclass(frozen=True)
class Unlabelled:
    """A picture, or a part of an archive, that got no label."""

    source: str
    key: str
    reason: str


@failures_reported()
def classify(
    inputs: Annotated[
        list[Path], typer.Argument(help="Archives (folders of shards, or shards), .lat files, or folders.")
    ],
    head: Annotated[Path, typer.Option("--head", help="Head file that `pylatent train classifier` made.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help=".csv or .parquet; lines on standard output if not given.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures decoded together.")] = 64,
    threads: Annotated[int | None, typer.Option(help="CPU threads; all cores by default.", min=1)] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite the output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Label coded pictures: key, predicted class and its probability, and the label that an archive gives, if any.

    A picture that cannot be decoded, or was coded by another model than the head's, is reported, recorded in
    OUTPUT.failures.csv, and left out; all others are labelled, and the exit code is 1.
    """
    import torch

    from pylatent.cli._label_table import open_table
    from pylatent.cli._labels import Labels

    if output is not None and output.exists() and not force:
        raise misused(f"{output} exists: --force overwrites it, -o names another")
    if threads is not None:
        torch.set_num_threads(threads)
    labels = Labels(head, inputs, batch=batch, threads=threads)
    with open_table(output) as table, _progress(labels.total, hidden=quiet) as bar:
        task = bar.add_task("classifying", total=labels.total)
        for rows in labels:
            table.write(rows)
            bar.update(task, advance=len(rows))
    _record(labels.failures, output)
    if not quiet and output is not None:
        complain(f"{output}: {labels.done} of {labels.total} pictures labelled")
    if labels.failures:
        raise typer.Exit(EXIT_FAILED)


def _record(failures: list[Unlabelled], output: Path | None) -> None:
    """Reports failures on stderr, the first of them, and all of them in a file beside the output."""
    from pylatent._files import atomic_writer

    for failure in failures[:10]:
        complain(failure.reason if failure.source in failure.reason else f"{failure.source}: {failure.reason}")
    path = None if output is None else output.with_name(f"{output.name}.failures.csv")
    if len(failures) > 10:
        complain(f"... {len(failures)} failures in all" + (f", see {path}" if path else ""))
    if path is None:
        return
    if not failures:
        path.unlink(missing_ok=True)
        return
    import io

    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["source", "key", "reason"])
    writer.writerows([failure.source, failure.key, failure.reason] for failure in failures)
    with atomic_writer(path) as file:
        file.write(text.getvalue().encode())


@contextlib.contextmanager
def _progress(total: int, *, hidden: bool) -> Iterator[Progress]:
    """A bar on stderr, on a terminal only, with pictures a second and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Task as RichTask
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: RichTask) -> Text:
            return Text(f"{task.finished_speed or task.speed or 0:,.0f} images/s")

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    off = hidden or not console.is_terminal
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=off) as bar:
        yield bar
