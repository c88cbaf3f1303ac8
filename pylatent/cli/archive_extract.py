"""pylatent archive extract: records to .lat files or pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pylatent._files import write_bytes
from pylatent.cli._check import receiver_of
from pylatent.cli._options import Fast, Force, Quiet, ReceiverName, SkipExisting
from pylatent.cli._progress import progress
from pylatent.cli._report import EXIT_FAILED, complain, count, explain, failures_reported, misused

if TYPE_CHECKING:
    from pylatent.archive import Failure, Record

Keys = Annotated[list[str] | None, typer.Argument(help="Keys; all by default.", show_default=False)]
Format = Annotated[str, typer.Option("--format", help="lat, or a picture's: png, webp, jpg ...")]
Recover = Annotated[
    bool, typer.Option("--recover", help="Read shards that were cut off, or whose index is damaged, from the front.")
]


def extract(
    path: Annotated[str, typer.Argument(help="An archive's folder, or one shard, or its URL.", show_default=False)],
    keys: Keys = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path("."),
    format: Format = "lat",
    recover: Recover = False,
    receiver: ReceiverName = None,
    fast: Fast = False,
    force: Force = False,
    skip_existing: SkipExisting = False,
    quiet: Quiet = False,
) -> None:
    """Write records as files: the key is the path below the output folder.

    A record that is damaged is reported and does not stop the others; the exit code is 1 if there was any.
    """
    with failures_reported():
        if force and skip_existing:
            raise misused("--force and --skip-existing contradict each other")
        suffix = f".{format.lower().lstrip('.')}"
        shown_by = receiver_of(receiver, fast)
        if shown_by != "full" and suffix == ".lat":
            option = "--fast" if fast else "--receiver"
            raise misused(f"{option} is for pictures: name their --format, or leave it out")
        from pylatent.archive import Archive, Record
        from pylatent.archive.extract import chosen, converter, everything, model_of

        archive = Archive(path, failures=[])  # shards that cannot be opened are reported below
        to_bytes = converter(suffix, *model_of(archive.path), receiver=shown_by)
        done = failed = skipped = 0
        with progress("extracting", quiet=quiet, unit="images") as show:
            for item in chosen(archive, keys) if keys else everything(archive.path, recover=recover):
                target = output / f"{item.key}{suffix}"
                try:
                    if isinstance(item, Record) and skip_existing and target.exists():
                        skipped += 1
                        continue
                    record = usable(item)
                    if target.exists() and not force:
                        raise FileExistsError(
                            f"{target} exists: --force overwrites it, --skip-existing passes it over, -o names another "
                            "folder"
                        )
                    data = to_bytes(record)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    write_bytes(target, data)
                except Exception as error:
                    complain_of(item, error)
                    failed += 1
                else:
                    done += 1
                show(done + failed + skipped, len(keys or archive))
        if not quiet:
            complain(
                f"{output}: {count(done, 'file')}"
                + (f"; {skipped} skipped" if skipped else "")
                + (f"; {count(failed, 'failure')}" if failed else "")
            )
        if failed:
            raise typer.Exit(EXIT_FAILED)


def usable(item: Record | Failure) -> Record:
    """The record; FormatError for what is none."""
    from pylatent.archive import Failure
    from pylatent.errors import FormatError

    if isinstance(item, Failure):
        raise FormatError(item.reason)
    return item


def complain_of(item: Record | Failure, error: Exception) -> None:
    """Says on stderr why a record could not be written."""
    text = explain(error)
    complain(text if item.key is None or item.key in text else f"{item.key}: {text}")
