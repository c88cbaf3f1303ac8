"""pylatent archive create: pictures into an archive, by many processes, resumable."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pylatent.cli._check import check_model
from pylatent.cli._options import Engine, EngineOption, MaxPixels, Model, Quality, Quiet, Workers
from pylatent.cli._progress import progress
from pylatent.cli._report import EXIT_FAILED, complain, count, failures_reported, misused


def create(
    archive: Annotated[Path, typer.Argument(help="Folder of the archive, new or one to continue.", show_default=False)],
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of pictures, WebDataset tars, Parquet.", show_default=False),
    ] = None,
    quality: Quality = None,
    model: Model = "default",
    labels: Annotated[
        str | None, typer.Option(help="`folder`: the first folder of a key; or a CSV file of keys and labels.")
    ] = None,
    keep_extensions: Annotated[bool, typer.Option(help="Keys with .png, .jpg ... at their ends.")] = False,
    lat: Annotated[
        bool, typer.Option("--lat", help="Take the inputs' .lat files, as they are, in place of pictures.")
    ] = False,
    max_pixels: MaxPixels = None,
    shard_size: Annotated[float, typer.Option(help="Megabytes of a shard, about.")] = 128,
    shard_records: Annotated[int, typer.Option(min=1, help="Pictures of a shard, at most.")] = 20_000,
    workers: Workers = None,
    engine: EngineOption = Engine.local,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: what is there, and what failed.")] = False,
    quiet: Quiet = False,
) -> None:
    """Make an archive of pictures; the same command continues it after an interruption.

    A picture that fails is reported and left out, and tried again by the next run; the exit code is 1 as long as one is
    missing. Pictures with new keys extend the archive. Without inputs, the run does what is missing.
    """
    if not 0 < shard_size < math.inf:
        raise misused(f"--shard-size must be above 0, got {shard_size:g}")
    with failures_reported():
        check_model(model, [quality])
        from pylatent.archive import run

        with progress("encoding", quiet=quiet, unit="images") as show:
            summary = run.create(
                archive,
                inputs or [],
                model=model,
                quality=quality,
                labels=None if labels is None else "folder" if labels == "folder" else Path(labels),
                keep_extensions=keep_extensions,
                coded=lat,
                max_pixels=max_pixels,
                shard_bytes=round(shard_size * 2**20),
                shard_records=shard_records,
                workers=workers,
                engine=engine.value,
                report=lambda progress: show(progress.done, progress.total),
            )
        for path, reason, failed in summary.passed:
            if failed or not quiet:
                complain(f"{path}{'' if failed else ' skipped'}: {reason}")
        for key, reason in summary.failures:
            complain(f"{key}: {reason}")
        for number, reason in summary.lost.items():
            complain(f"shard {number} could not be made: {reason}")
        if as_json:
            print(json.dumps(asdict(summary)))
        elif not quiet:
            missing = (
                ""
                if summary.records == summary.planned
                else f"; {summary.planned - summary.records:,} missing: run again to retry"
            )
            complain(f"{archive}: {count(summary.records, 'record')} in {count(summary.shards, 'shard')}{missing}")
        if not summary.complete:
            raise typer.Exit(EXIT_FAILED)
