"""pylatent decompress: .lat files to pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pylatent.cli._batch import Coded, Say, Work, run
from pylatent.cli._check import check_device, check_jobs, check_model, check_terminal, receiver_of
from pylatent.cli._inputs import CODED, STREAM, read_source
from pylatent.cli._options import Device, Fast, Force, Jobs, Quiet, ReceiverName, SkipExisting, Threads
from pylatent.cli._plan import Job, plan
from pylatent.cli._report import bytes_text, failures_reported, misused

if TYPE_CHECKING:
    from pylatent._receivers import Receiver


def decompress(
    inputs: Annotated[list[Path], typer.Argument(help=".lat files, folders of them, or - for standard input.")],
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="Picture, folder (for several inputs, or ending in /), or - for standard output."
        ),
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="png (default), tif, webp (lossless), jpg, ppm ...", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Name or file of the model; by default the installed one that a file names."
        ),
    ] = None,
    receiver: ReceiverName = None,
    fast: Fast = False,
    device: Device = "cpu",
    threads: Threads = None,
    jobs: Jobs = 1,
    force: Force = False,
    skip_existing: SkipExisting = False,
    quiet: Quiet = False,
) -> None:
    """Decompress .lat files: photo.lat to photo.png beside it. The file says which model it needs."""
    with failures_reported():
        shown_by = receiver_of(receiver, fast)
        check_jobs(jobs, device, threads)
        suffix = f".{(format or 'png').lower().lstrip('.')}"
        planned = plan(inputs, output, suffix, CODED, force=force, skip_existing=skip_existing)
        if planned.jobs:
            check_terminal(planned.jobs[0].target)
            if model is not None:
                check_model(model)
            formats = _formats(planned.jobs, suffix, format)
            check_device(device)
        else:
            formats = []
        recipe = Decompression(dict(zip(planned.jobs, formats, strict=True)), model, shown_by, device, threads)
        run(planned, recipe, doing="decompressing", quiet=quiet, jobs=jobs)


def _formats(jobs: list[Job], suffix: str, asked: str | None) -> list[str]:
    """Pillow's name of the format of every output: that of its extension, or without one the one asked for."""
    from pylatent.picture_formats import format_of

    names = []
    for job in jobs:
        named = job.target != STREAM and job.target.suffix != ""
        names.append(format_of(job.target if named else f"-{suffix}"))
        if named and asked is not None and names[-1] != format_of(f"-{suffix}"):
            raise misused(f"-o {job.target} and --format {asked} name different formats: leave one of them out")
    return names


@dataclass(frozen=True)
class Decompression:
    """The options of a command line; what they mean for a .lat file."""

    formats: dict[Job, str]
    model: str | None
    receiver: Receiver
    device: str
    threads: int | None

    def ready(self) -> Work:
        from pylatent import api, images

        def work(job: Job, say: Say) -> Coded:
            data = read_source(job.source, CODED)
            image = api.decompress(
                data, model=self.model, device=self.device, threads=self.threads, receiver=self.receiver
            )
            coded = images.to_bytes(image, self.formats[job])
            remark = f"{image.width}x{image.height}, {bytes_text(len(data))} -> {bytes_text(len(coded))}"
            return Coded(coded, len(data), remark)

        return work
