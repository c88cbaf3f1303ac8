"""pylatent archive: many pictures in few files. Looking at archives; `create` and `extract` have their own files."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pylatent.cli._examples import examples
from pylatent.cli._options import Quiet, Threads
from pylatent.cli._progress import progress
from pylatent.cli._report import EXIT_FAILED, bytes_text, complain, count, failures_reported, misused, write_output
from pylatent.cli.archive_create import create
from pylatent.cli.archive_export import export
from pylatent.cli.archive_extract import extract

if TYPE_CHECKING:
    from pylatent.archive import Archive, Failure, Record
    from pylatent.archive.reader import Shard

app = typer.Typer(
    help="Archives of many pictures: make, look into, check, take apart.", no_args_is_help=True, rich_markup_mode=None
)
app.command("create", epilog=examples("archive create"))(create)
app.command("extract", epilog=examples("archive extract"))(extract)
app.command("export", epilog=examples("archive export"))(export)

Where = Annotated[str, typer.Argument(help="An archive's folder, or one shard, or its URL.", show_default=False)]


@app.command("ls", epilog=examples("archive ls"))
def ls(
    path: Where,
    long: Annotated[bool, typer.Option("--long", "-l", help="Size, quality, bytes and label too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the keys, one a line. Records that are damaged are reported, the others listed."""
    with failures_reported():
        failures: list[Failure] = []
        archive = _open(path, failures)
        for shard in archive.shards():
            for position in range(len(shard)):
                _list(shard, position, long, as_json, failures)
        _end(failures)


def _list(shard: Shard, position: int, long: bool, as_json: bool, failures: list[Failure]) -> None:
    from pylatent.archive import Failure
    from pylatent.errors import FormatError

    try:
        if not (long or as_json):
            print(shard.key(position))
            return
        record = shard[position]
    except FormatError as error:
        failures.append(Failure(shard.path, None, str(error)))
        return
    facts = _facts(record)
    if as_json:
        print(json.dumps(facts))
    else:
        quality = "fixed" if facts["quality"] is None else f"{facts['quality']:.4g}"
        size = f"{facts['width']}x{facts['height']}"
        print(
            f"{size:>11} {quality:>5} {facts['bytes']:>8}  {facts['key']}"
            + (f"  {record.label}" if record.label else "")
        )


def _facts(record: Record) -> dict[str, Any]:
    height, width = record.stream.size
    return {
        "key": record.key,
        "label": record.label,
        "width": width,
        "height": height,
        "quality": record.stream.quality,
        "bytes": len(record.stream.to_record()),
    }


@app.command("info", epilog=examples("archive info"))
def info(
    path: Where,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Describe an archive: model, records, bytes, and what is still missing of its plan. Needs no model."""
    with failures_reported():
        failures: list[Failure] = []
        facts = _describe(_open(path, failures))
        print(json.dumps(facts) if as_json else _text(path, facts))
        _end(failures)


def _describe(archive: Archive) -> dict[str, Any]:
    from pylatent.archive import plan
    from pylatent.archive.report import summarize

    shards = list(archive.shards())
    labels = Counter(archive.labels())
    facts: dict[str, Any] = {
        "model": archive.model,
        "model_hash": archive.model_hash.hex(),
        "shards": len(shards),
        "records": len(archive),
        "bytes": archive.file_bytes,
        "labels": {label: count for label, count in sorted(labels.items(), key=str) if label is not None},
    }
    path = archive.path
    if isinstance(path, Path) and path.is_dir() and plan.has_plan(path):
        planned = plan.read_plan(path)
        summary = summarize(path, planned)
        facts |= {"quality": planned.quality, "planned": summary.planned, "missing": summary.planned - summary.records}
        facts["failures"] = [{"key": key, "reason": reason} for key, reason in summary.failures]
    return facts


def _text(path: str, facts: dict[str, Any]) -> str:
    lines = [
        f"{path}: pylatent archive",
        f"  model     {facts['model']}, hash {facts['model_hash']}",
        f"  records   {facts['records']:,} in {count(facts['shards'], 'shard')}",
        f"  size      {bytes_text(facts['bytes'])}, {facts['bytes'] / max(1, facts['records']):,.0f} bytes a record",
    ]
    if facts["labels"]:
        lines.append(f"  labels    {len(facts['labels']):,}, on {sum(facts['labels'].values()):,} records")
    if "planned" in facts:
        missing = f"{facts['missing']:,} missing, {len(facts['failures']):,} of them failed"
        lines.append(f"  planned   {facts['planned']:,}, " + (missing if facts["missing"] else "all there"))
    return "\n".join(lines)


@app.command("verify", epilog=examples("archive verify"))
def verify(
    path: Where,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every record to latents with the model as well.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: records and failures.")] = False,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Check every byte: indexes, checksums, order of the keys, keys that are there twice, pictures that are missing.

    Every failure is one line on standard error, and the exit code is 1 if there is any.
    """
    with failures_reported():
        from pylatent.archive.verify import verify_archive

        failures: list[Failure] = []
        archive = _open(path, failures)
        with progress("verifying", quiet=quiet, unit="images") as show:
            good = verify_archive(archive, failures, lambda done: show(done, len(archive)))
            if decode:
                good = _decoded(archive, failures, threads, quiet)
        if as_json:
            found = [{"source": one.source, "key": one.key, "reason": one.reason} for one in failures]
            print(json.dumps({"records": good, "failures": found}))
        elif not quiet:
            complain(f"{path}: {good:,} records are intact")
        _end(failures)


def _decoded(archive: Archive, failures: list[Failure], threads: int | None, quiet: bool) -> int:
    """How many records decode; those that do not are failures, unless they are known already."""
    from pylatent import zoo
    from pylatent.archive import decode_batches

    if not len(archive):
        return 0
    codec = zoo.find(archive.model, archive.model_hash)
    found: list[Failure] = []
    known, done = {failure.key for failure in failures}, 0
    with progress("decoding", quiet=quiet, unit="images") as show:
        for batch in decode_batches(archive, codec, threads=threads, failures=found):
            done += len(batch.keys)
            show(done, len(archive))
    failures += [failure for failure in found if failure.key is None or failure.key not in known]
    return done


@app.command("cat", epilog=examples("archive cat"))
def cat(path: Where, key: Annotated[str, typer.Argument(help="Key of a record.")]) -> None:
    """Write one record to standard output, as a .lat file."""
    if sys.stdout.isatty():
        raise misused("not writing binary data to a terminal: redirect standard output")
    with failures_reported():
        from pylatent.coding.container import LatFile

        archive = _open(path, None)
        position = archive.find(key)
        if position is None:
            complain(f"{path} has no record {key!r}; `pylatent archive ls` lists the keys")
            raise typer.Exit(EXIT_FAILED)
        file = LatFile(archive.model, archive.model_hash, archive[position].stream)
        write_output(file.to_bytes())


def _open(path: str, failures: list[Failure] | None) -> Archive:
    from pylatent.archive import Archive

    return Archive(path, failures=failures)


def _end(failures: list[Failure]) -> None:
    """Reports failures and ends the command with exit code 1 if there are any."""
    for failure in failures:
        complain(failure.reason)
    if failures:
        raise typer.Exit(EXIT_FAILED)
