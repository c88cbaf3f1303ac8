"""pylatent archive export: records into a WebDataset tar."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from pylatent._files import atomic_writer
from pylatent.cli._check import check_terminal
from pylatent.cli._inputs import STREAM, shown
from pylatent.cli._options import Force, Quiet
from pylatent.cli._progress import progress
from pylatent.cli._report import EXIT_FAILED, complain, count, failures_reported, misused
from pylatent.cli.archive_extract import Format, Keys, Recover, complain_of, usable


def export(
    path: Annotated[str, typer.Argument(help="An archive's folder, or one shard, or its URL.", show_default=False)],
    tar: Annotated[Path, typer.Argument(help="The tar to write, or - for standard output.", show_default=False)],
    keys: Keys = None,
    format: Format = "lat",
    recover: Recover = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write records into a WebDataset tar: KEY.lat (or .png ...), and KEY.cls for those that have a label.

    `pylatent archive create --lat` makes an archive of it again. A record that is damaged is reported and left out, and
    the exit code is 1.
    """
    with failures_reported():
        check_terminal(tar)
        if tar != STREAM and tar.exists() and not force:
            raise misused(f"{tar} exists: --force overwrites it")
        from pylatent.archive import Archive
        from pylatent.archive.extract import TarWriter, chosen, converter, everything, model_of

        archive = Archive(path, failures=[])  # shards that cannot be opened are reported below
        suffix = f".{format.lower().lstrip('.')}"
        to_bytes = converter(suffix, *model_of(archive.path))
        done = failed = 0
        with (
            _opened(tar) as file,
            TarWriter(file, suffix) as writer,
            progress("exporting", quiet=quiet, unit="images") as show,
        ):
            for item in chosen(archive, keys) if keys else everything(archive.path, recover=recover):
                try:
                    record = usable(item)
                    data = to_bytes(record)
                except Exception as error:
                    complain_of(item, error)
                    failed += 1
                else:
                    writer.add(record, data)
                    done += 1
                show(done + failed, len(keys or archive))
        if not quiet:
            complain(
                f"{shown(tar, 'output')}: {count(done, 'record')}" + (f"; {count(failed, 'failure')}" if failed else "")
            )
        if failed:
            raise typer.Exit(EXIT_FAILED)


@contextlib.contextmanager
def _opened(tar: Path) -> Iterator[BinaryIO]:
    if tar == STREAM:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with atomic_writer(tar) as file:
        yield file
