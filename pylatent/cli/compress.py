"""pylatent compress: pictures to .lat files."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pylatent.cli._batch import Coded, Say, Work, run
from pylatent.cli._check import check_device, check_jobs, check_model, check_positive, check_terminal
from pylatent.cli._inputs import PICTURES, read_picture
from pylatent.cli._options import (
    Device,
    Force,
    Jobs,
    MaxPixels,
    Model,
    Quality,
    Quiet,
    RefineMethod,
    SkipExisting,
    Threads,
)
from pylatent.cli._plan import Job, plan
from pylatent.cli._refine import Refinement
from pylatent.cli._report import bytes_text, failures_reported, misused

if TYPE_CHECKING:
    from pylatent.coding.container import LatFile


def compress(
    inputs: Annotated[list[Path], typer.Argument(help="Pictures, folders of pictures, or - for standard input.")],
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="File, folder (for several inputs, or ending in /), or - for standard output."
        ),
    ] = None,
    quality: Quality = None,
    target_bpp: Annotated[
        float | None, typer.Option(help="At most so many bits per pixel, by search over the quality.")
    ] = None,
    target_psnr: Annotated[
        float | None,
        typer.Option(
            help="At least so many dB, by search over the quality, beyond it with a residual; `inf` is lossless."
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="A target that cannot be reached is an error, and writes nothing.")
    ] = False,
    refine: Annotated[
        int, typer.Option(min=0, help="Steps of refinement: a smaller file for more time; 500 is a good number.")
    ] = 0,
    refine_method: RefineMethod = None,
    refine_lambda: Annotated[
        float | None, typer.Option(help="Weight of 255² MSE against bits per pixel; the model's own by default.")
    ] = None,
    time_budget: Annotated[float | None, typer.Option(help="Seconds of refinement per picture.")] = None,
    max_error: Annotated[
        int | None,
        typer.Option(
            min=0, max=127, help="No pixel is off by more grey levels: a residual is coded, too; 0 is lossless."
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Decode every file, store a checksum of its pixels, and warn of pictures below 20 dB."
        ),
    ] = False,
    model: Model = "default",
    max_pixels: MaxPixels = None,
    device: Device = "cpu",
    threads: Threads = None,
    jobs: Jobs = 1,
    force: Force = False,
    skip_existing: SkipExisting = False,
    quiet: Quiet = False,
) -> None:
    """Compress pictures: photo.png to photo.lat beside it.

    Pictures of any kind that Pillow reads are taken as 8-bit sRGB; whatever had to be converted for that is reported.
    A folder is searched for pictures at any depth.
    """
    with failures_reported():
        if sum(option is not None for option in (quality, target_bpp, target_psnr)) > 1:
            raise misused("give only one of --quality, --target-bpp and --target-psnr")
        if max_error is not None and (target_bpp is not None or target_psnr is not None):
            raise misused("--max-error has no target beside it: give it with --quality, or alone")
        if strict and target_bpp is None and target_psnr is None:
            raise misused("--strict is for --target-bpp and --target-psnr")
        check_positive(infinite=True, target_bpp=target_bpp, target_psnr=target_psnr)
        refinement = Refinement.of_options(refine, refine_method, time_budget, refine_lambda)
        check_jobs(jobs, device, threads)
        planned = plan(inputs, output, ".lat", PICTURES, force=force, skip_existing=skip_existing)
        if planned.jobs:
            check_terminal(planned.jobs[0].target)
            check_model(model, [quality], target=target_bpp or target_psnr, refined=refinement is not None)
            check_device(device)
        recipe = Compression(
            quality,
            target_bpp,
            target_psnr,
            strict,
            refinement,
            max_error,
            verify,
            model,
            max_pixels,
            device,
            threads,
            quiet,
        )
        if refinement is None or jobs > 1:
            run(planned, recipe, doing="compressing", quiet=quiet, jobs=jobs)
            return
        with refinement.interruptible():
            run(planned, recipe, doing="compressing", quiet=quiet, stop=lambda: refinement.interrupted)


@dataclass(frozen=True)
class Compression:
    """The options of a command line; what they mean for a picture."""

    quality: float | None
    target_bpp: float | None
    target_psnr: float | None
    strict: bool
    refinement: Refinement | None
    max_error: int | None
    verify: bool
    model: str
    max_pixels: int | None
    device: str
    threads: int | None
    quiet: bool

    def ready(self) -> Work:
        import warnings

        from pylatent import api
        from pylatent.coding.container import LatFile
        from pylatent.errors import TargetWarning

        codec = api.load(self.model, device=self.device)
        refinement = self.refinement

        def work(job: Job, say: Say) -> Coded:
            picture, size = read_picture(job.source, self.max_pixels, self.quiet)
            name = job.source.name[-40:]
            with warnings.catch_warnings() if self.strict else contextlib.nullcontext():
                if self.strict:
                    warnings.simplefilter("error", TargetWarning)
                coded = api.compress(
                    picture,
                    quality=self.quality,
                    target_bpp=self.target_bpp,
                    target_psnr=self.target_psnr,
                    refine=refinement.plan(lambda text: say(f"refining {name}: {text}")) if refinement else 0,
                    max_error=self.max_error,
                    model=codec,
                    threads=self.threads,
                    verify=self.verify,
                )
            return Coded(coded, size, _summary(LatFile.from_bytes(coded), size, len(coded)))

        return work


def _summary(file: LatFile, before: int, after: int) -> str:
    height, width = file.stream.size
    parts = [] if file.stream.quality is None else [f"quality {file.stream.quality:.4g}"]
    parts += [] if file.stream.residual is None else ["a residual"]
    quality = f"{' and '.join(parts)}, " if parts else ""
    bpp = 8 * after / (height * width)
    return (
        f"{width}x{height}, {quality}{bytes_text(before)} -> {bytes_text(after)}, {bpp:.3f} bpp, 1:{before / after:.1f}"
    )
