"""`pylatent classify`: labels of archives and .lat files; pixels are never decoded."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pylatent.cli._rate import rate_bar
from pylatent.cli._report import EXIT_FAILED, complain, failures_reported, misused


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
    with open_table(output) as table, rate_bar("classifying", quiet=quiet) as show:
        for rows in labels:
            table.write(rows)
            show(labels.done, labels.total)
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
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["source", "key", "reason"])
    writer.writerows([failure.source, failure.key, failure.reason] for failure in failures)
    with atomic_writer(path) as file:
        file.write(text.getvalue().encode())
