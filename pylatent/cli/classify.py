"""`pylatent classify`: labels of archives and .lat files; pixels are never decoded."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pylatent._files import write_bytes
from pylatent.cli._check import check_writable
from pylatent.cli._inputs import CODED, STREAM, find, read_source, shown, with_name
from pylatent.cli._options import Force, Head, Quiet, Threads
from pylatent.cli._progress import progress
from pylatent.cli._report import EXIT_FAILED, complain, count, failures_reported, misused

if TYPE_CHECKING:
    from pylatent.archive.classify import Unlabelled


@failures_reported()
def classify(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Archives (folders of shards, or shards), their URLs, .lat files, folders, or - for stdin."
        ),
    ],
    head: Head,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help=".csv or .parquet; lines on standard output if not given.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures decoded together.")] = 64,
    threads: Threads = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Label coded pictures: key, predicted class and its probability, and the label that an archive gives, if any.

    A picture that cannot be decoded, or was coded by another model than the head's, is reported, recorded in
    OUTPUT.failures.csv, and left out; all others are labelled, and the exit code is 1.
    """
    from pylatent.archive.folder import is_archive
    from pylatent.archive.storage import place_of

    if output is not None and output.exists() and not force:
        raise misused(f"{output} exists: --force overwrites it, -o names another")
    check_writable("-o", output)
    places = [place_of(path) for path in inputs]
    archives = [place for place in places if place != STREAM and is_archive(place)]
    found = find([place for place in places if isinstance(place, Path) and place not in archives], CODED)
    found.report()
    if not (archives or found.files):
        raise typer.Exit(EXIT_FAILED)

    import torch

    from pylatent.archive.classify import Labels, Unlabelled
    from pylatent.cli._label_table import open_table

    if threads is not None:
        torch.set_num_threads(threads)
    files = [path for path, _ in found.files]
    labels = Labels(head, archives, files, batch=batch, threads=threads, read=lambda path: read_source(path, CODED))
    with open_table(output) as table, progress("classifying", quiet=quiet, unit="images") as show:
        for rows in labels:
            table.write(rows)
            show(labels.done, labels.total)
    _report(labels.failures, output)
    refused = [Unlabelled(shown(remark.source), "", remark.reason) for remark in found.failed]
    _record([*refused, *labels.failures], output)
    if not quiet and output is not None:
        complain(f"{output}: {labels.done} of {count(labels.total + len(refused), 'picture')} labelled")
    if labels.failures or refused:
        raise typer.Exit(EXIT_FAILED)


def _report(failures: list[Unlabelled], output: Path | None) -> None:
    """Says on stderr what got no label, the first of them."""
    for failure in failures[:10]:
        complain(with_name(Path(failure.source), failure.reason))
    if len(failures) > 10:
        where = "" if output is None else f", see {_failures_of(output)}"
        complain(f"... {len(failures)} failures in all{where}")


def _failures_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.failures.csv")


def _record(failures: list[Unlabelled], output: Path | None) -> None:
    """Writes all failures to a file beside the output, which there is only if there are any."""
    if output is None:
        return
    path = _failures_of(output)
    if not failures:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["source", "key", "reason"])
    writer.writerows([failure.source, failure.key, failure.reason] for failure in failures)
    write_bytes(path, text.getvalue().encode())
