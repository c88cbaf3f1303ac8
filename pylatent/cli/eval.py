"""pylatent eval: what a model does to your own pictures, in numbers, beside JPEG and WebP."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pylatent._files import is_picture, write_bytes
from pylatent.cli._batch import find_jobs
from pylatent.cli._refine import Refinement
from pylatent.cli._report import EXIT_FAILED, check_device, complain, count, failures_reported, misused

if TYPE_CHECKING:
    from rich.progress import Progress
    from torch import Tensor

    from pylatent.codecs.base import Codec

_STDOUT = Path("-")


def evaluate(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.", show_default=False)],
    quality: Annotated[
        list[float] | None,
        typer.Option("--quality", "-q", help="A quality; repeat for more; every whole one by default."),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Name (`pylatent models list`) or file.")] = "default",
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write every measurement here; - for standard output.")
    ] = None,
    plot_path: Annotated[
        Path | None, typer.Option("--plot", help="Write the rate-distortion plot here; needs matplotlib.")
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Measure Pillow's JPEG and WebP too.")] = True,
    refine: Annotated[int, typer.Option(min=0, help="Measure the model with so many steps of refinement too.")] = 0,
    refine_method: Annotated[str, typer.Option(help="ssl, atanh, linear, cosine, straight-through or noise.")] = "ssl",
    repeats: Annotated[int, typer.Option(min=1, help="Time each encode and decode this often; the median counts.")] = 1,
    device: Annotated[str, typer.Option(help="Where the networks run: cpu, cuda, cuda:1 ...")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="CPU threads; all cores by default.", min=1)] = None,
) -> None:
    """Measure a model on pictures: bits per pixel, PSNR, MS-SSIM and speed.

    Shows each picture at each quality, the means over the pictures, and the BD-rates against JPEG and WebP. Rates are
    those of whole files. The column "bugs" counts files that did not decode to what was encoded; any makes the command
    fail.
    """
    files = [job.source for job in find_jobs(paths, None, ".lat", is_picture)]
    with failures_reported():
        import torch
        from rich.console import Console

        from pylatent import zoo
        from pylatent.cli._eval_tables import print_report
        from pylatent.evaluation.classical import JPEG, WEBP
        from pylatent.evaluation.plot import Line, plot_curves
        from pylatent.evaluation.report import evaluate as measure_all

        check_device(device)
        plan = Refinement(refine, refine_method, None).plan() if refine else None
        if threads is not None:
            torch.set_num_threads(threads)
        codec = zoo.load(model, device=device)
        qualities = _qualities(codec, quality)
        anchors = (JPEG, WEBP) if baselines else ()
        with _progress() as progress:
            task = progress.add_task(
                "measuring", total=len(files) * (len(qualities) * (2 if plan else 1) + len(anchors))
            )
            report = measure_all(
                codec,
                _read(files),
                qualities,
                baselines=anchors,
                plan=plan,
                repeats=repeats,
                advance=lambda: progress.advance(task),
            )

        print_report(Console(stderr=json_path == _STDOUT), report)
        if json_path is not None:
            text = json.dumps(report.to_json(), indent=1) + "\n"
            if json_path == _STDOUT:
                print(text, end="", flush=True)
            else:
                write_bytes(json_path, text.encode())
        if plot_path is not None:
            lines = [Line(report.model, report.mean)]
            if plan:
                lines.append(Line(f"{report.model}, {refine} steps of refinement", report.refined_mean))
            lines += [Line(anchor.describe(), report.baseline_mean(anchor.name)) for anchor in anchors]
            plot_curves(lines, plot_path, title=f"Mean of {count(len(report.pictures), 'picture')}")
        if report.mismatches:
            complain(f"{count(report.mismatches, 'file')} did not decode to what was encoded")
            raise typer.Exit(EXIT_FAILED)


def _qualities(codec: Codec, asked: Sequence[float] | None) -> Sequence[float | None]:
    if codec.qualities is None:
        if asked:
            raise misused(f"model {codec.name} has one fixed rate: no quality can be given")
        return [None]
    lowest, highest = codec.qualities
    for value in asked or ():
        if not lowest <= value <= highest:
            raise misused(f"--quality must be from {lowest:g} to {highest:g} for {codec.name}, got {value:g}")
    return sorted(set(asked)) if asked else [float(value) for value in range(round(lowest), round(highest) + 1)]


def _read(files: Sequence[Path]) -> Iterator[tuple[str, Tensor]]:
    from pylatent import images

    for file in files:
        picture = images.read(file)
        if picture.notes:
            complain(f"{file}: {', '.join(picture.notes)}")
        yield file.name, picture.tensor


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
