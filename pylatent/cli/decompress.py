"""pylatent decompress: .lat files to pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from pylatent.cli._batch import STREAM, Done, Job, check_target, find_jobs, read_source, run
from pylatent.cli._report import bytes_text, check_device, failures_reported


def decompress(
    inputs: Annotated[list[Path], typer.Argument(help=".lat files, folders of them, or - for standard input.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Picture, folder (for several inputs), or - for standard output."),
    ] = None,
    format: Annotated[
        str, typer.Option(help="Format where -o names none: png, tif, webp (lossless), jpg, ppm ...")
    ] = "png",
    device: Annotated[str, typer.Option(help="Where the networks run: cpu, cuda, cuda:1 ...")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="CPU threads; all cores by default.", min=1)] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Decompress .lat files: photo.lat to photo.png beside it. The file says which model it needs."""
    suffix = f".{format.lower().lstrip('.')}"
    jobs = find_jobs(inputs, output, suffix, lambda path: path.suffix.lower() == ".lat")
    check_target(jobs[0].target)
    with failures_reported():
        from pylatent import api, images

        check_device(device)
        formats = {job.target: images.format_of(f"-{suffix}" if job.target == STREAM else job.target) for job in jobs}

        def work(job: Job, say: Callable[[str], None]) -> Done:
            data = read_source(job.source)
            image = api.decompress(data, device=device, threads=threads)
            coded = images.to_bytes(image, formats[job.target])
            remark = f"{image.width}x{image.height}, {bytes_text(len(data))} -> {bytes_text(len(coded))}"
            return Done(coded, len(data), remark)

        run(jobs, work, doing="decompressing", force=force, quiet=quiet)
