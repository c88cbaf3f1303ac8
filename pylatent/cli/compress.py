"""pylatent compress: pictures to .lat files."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from pylatent._files import is_picture
from pylatent.cli._batch import Done, Job, check_target, find_jobs, read_source, run, shown
from pylatent.cli._refine import Refinement
from pylatent.cli._report import bytes_text, check_device, complain, failures_reported, misused


def compress(
    inputs: Annotated[list[Path], typer.Argument(help="Pictures, folders of pictures, or - for standard input.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File, folder (for several inputs), or - for standard output.")
    ] = None,
    quality: Annotated[
        float | None, typer.Option("--quality", "-q", help="From 1 to 8 for the default model; fractions welcome.")
    ] = None,
    target_bpp: Annotated[
        float | None, typer.Option(help="At most so many bits per pixel, by search over the quality.")
    ] = None,
    target_psnr: Annotated[float | None, typer.Option(help="At least so many dB, by search over the quality.")] = None,
    refine: Annotated[
        int, typer.Option(min=0, help="Steps of refinement: a smaller file for more time; 500 is a good number.")
    ] = 0,
    refine_method: Annotated[str, typer.Option(help="ssl, atanh, linear, cosine, straight-through or noise.")] = "ssl",
    refine_lambda: Annotated[
        float | None, typer.Option(help="Weight of 255² MSE against bits per pixel; the model's own by default.")
    ] = None,
    time_budget: Annotated[float | None, typer.Option(help="Seconds of refinement per picture.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Name (`pylatent models list`) or file.")] = "default",
    device: Annotated[str, typer.Option(help="Where the networks run: cpu, cuda, cuda:1 ...")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="CPU threads; all cores by default.", min=1)] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Compress pictures: photo.png to photo.lat beside it.

    Pictures of any kind that Pillow reads are taken as 8-bit sRGB; whatever had to be converted for that is reported.
    A folder is searched for pictures at any depth.
    """
    if sum(option is not None for option in (quality, target_bpp, target_psnr)) > 1:
        raise misused("give only one of --quality, --target-bpp and --target-psnr")
    for name, target in (("--target-bpp", target_bpp), ("--target-psnr", target_psnr)):
        if target is not None and not 0 < target < math.inf:
            raise misused(f"{name} must be above 0, got {target:g}")
    for name, number in (("--time-budget", time_budget), ("--refine-lambda", refine_lambda)):
        if number is not None and not 0 < number < math.inf:
            raise misused(f"{name} must be above 0, got {number:g}")
    refinement = Refinement(refine, refine_method, time_budget, refine_lambda)
    jobs = find_jobs(inputs, output, ".lat", is_picture)
    check_target(jobs[0].target)
    with failures_reported():
        from pylatent import api, images
        from pylatent.coding.container import LatFile

        if refinement.wanted:
            refinement.plan()  # checked before a picture is read
        check_device(device)
        codec = api.load(model, device=device)
        _check_rate(codec, quality, target_bpp, target_psnr, refinement.wanted)

        def work(job: Job, say: Callable[[str], None]) -> Done:
            data = read_source(job.source)
            try:
                picture = images.read(data)
            except images.ImageError as error:
                raise images.ImageError(str(error).replace("the picture", shown(job.source), 1)) from error
            if picture.notes and not quiet:
                complain(f"{shown(job.source)}: {', '.join(picture.notes)}")
            name = job.source.name[-40:]
            coded = api.compress(
                picture.tensor,
                quality=quality,
                target_bpp=target_bpp,
                target_psnr=target_psnr,
                refine=refinement.plan(lambda text: say(f"refining {name}: {text}")) if refinement.wanted else 0,
                model=codec,
                threads=threads,
            )
            return Done(coded, len(data), _summary(LatFile.from_bytes(coded), len(data), len(coded)))

        with refinement.interruptible() if refinement.wanted else contextlib.nullcontext():
            run(jobs, work, doing="compressing", force=force, quiet=quiet, stop=lambda: refinement.interrupted)


def _check_rate(codec, quality, target_bpp, target_psnr, refined) -> None:  # type: ignore[no-untyped-def]
    if codec.qualities is None:
        if quality is not None:
            raise misused(f"model {codec.name} has one fixed rate: no quality can be given")
        if (target_bpp, target_psnr) != (None, None) and not refined:
            raise misused(f"model {codec.name} has one fixed rate: a target needs --refine")
    elif quality is not None and not codec.qualities[0] <= quality <= codec.qualities[1]:
        lowest, highest = codec.qualities
        raise misused(f"--quality must be from {lowest:g} to {highest:g} for {codec.name}, got {quality:g}")


def _summary(file, before: int, after: int) -> str:  # type: ignore[no-untyped-def]
    height, width = file.stream.size
    quality = "" if file.stream.quality is None else f"quality {file.stream.quality:.4g}, "
    bpp = 8 * after / (height * width)
    return (
        f"{width}x{height}, {quality}{bytes_text(before)} -> {bytes_text(after)}, {bpp:.3f} bpp, 1:{before / after:.1f}"
    )
