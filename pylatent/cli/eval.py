"""pylatent eval: what a model does to your own pictures, in numbers, beside JPEG and WebP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pylatent._files import write_bytes
from pylatent.cli._check import METRICS, check_device, check_metrics, check_model, check_writable, receivers_of
from pylatent.cli._inputs import PICTURES, STREAM, find, read_picture, with_name
from pylatent.cli._options import Device, MaxPixels, Model, Qualities, Receivers, RefineMethod, Threads
from pylatent.cli._progress import progress
from pylatent.cli._refine import Refinement
from pylatent.cli._report import EXIT_FAILED, complain, count, explain, failures_reported, misused, need_extra
from pylatent.errors import ImageError

if TYPE_CHECKING:
    from torch import Tensor

    from pylatent.evaluation.report import Report

_PLOTS = (".png", ".svg", ".pdf")


def evaluate(
    paths: Annotated[
        list[Path], typer.Argument(help="Pictures, folders of pictures, or - for standard input.", show_default=False)
    ],
    quality: Qualities = None,
    model: Model = "default",
    receiver: Receivers = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write every measurement here; - for standard output.")
    ] = None,
    plot_path: Annotated[
        Path | None,
        typer.Option("--plot", help="Write the rate-distortion plot here (.png, .svg, .pdf); needs matplotlib."),
    ] = None,
    html_path: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots and tables here; it fetches nothing.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Measure this, too: lpips-vgg, lpips-alex (of each picture; seconds), fid, kid (of patches of all "
            "pictures); repeat for more."
        ),
    ] = None,
    features: Annotated[
        str,
        typer.Option(help="Whose features fid and kid compare: vgg, alex, inception, or a file, .pt2 or TorchScript."),
    ] = "vgg",
    patch: Annotated[int, typer.Option(min=16, help="Side of the patches of fid and kid in pixels.")] = 256,
    baselines: Annotated[bool, typer.Option(help="Measure Pillow's JPEG and WebP too.")] = True,
    refine: Annotated[int, typer.Option(min=0, help="Measure the model with so many steps of refinement too.")] = 0,
    refine_method: RefineMethod = None,
    repeats: Annotated[int, typer.Option(min=1, help="Time each encode and decode this often; the median counts.")] = 1,
    max_pixels: MaxPixels = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Measure a model on pictures: bits per pixel, PSNR, MS-SSIM, speed, and how alike they look (--metric).

    Shows each picture at each quality, the means over the pictures, and the BD-rates against JPEG and WebP; of several
    --receiver, the same files by each of them. Rates are those of whole files. The column "bugs" counts files that did
    not decode to what was encoded; any makes the command fail. A picture that cannot be read is reported and left out,
    and makes it fail, too.
    """
    with failures_reported():
        check_writable("--json", json_path)
        check_writable("--html", html_path)
        _check_plot(plot_path)
        check_metrics(metric or (), METRICS)
        receivers = receivers_of(receiver)
        refinement = Refinement.of_options(refine, refine_method)
        found = find(paths, PICTURES)
        found.report()
        if not found.files:
            raise typer.Exit(EXIT_FAILED)
        check_model(model, quality or ())
        check_device(device)

        import torch
        from rich.console import Console

        from pylatent import zoo
        from pylatent._quality import spread
        from pylatent.cli._eval_tables import print_report
        from pylatent.evaluation.classical import JPEG, WEBP
        from pylatent.evaluation.metrics import load_metrics
        from pylatent.evaluation.report import evaluate as measure_all

        plan = refinement.plan() if refinement else None
        if threads is not None:
            torch.set_num_threads(threads)
        codec = zoo.load(model, device=device)
        for each in receivers:
            codec.check_receiver(each)
        of_pictures, of_sets = load_metrics(metric or (), features, patch, device)
        anchors = (JPEG, WEBP) if baselines else ()
        qualities = sorted(set(quality)) if quality else spread(codec.qualities)
        steps = len(qualities) * (2 if plan else 1) + len(anchors)
        done, failures = 0, len(found.failed)
        thumbnails: list[bytes] = []

        def fail(source: Path, error: Exception) -> None:
            nonlocal failures
            failures += 1
            complain(with_name(source, explain(error)))

        with progress("measuring") as show:

            def advance() -> None:
                nonlocal done
                done += 1
                show(done, len(found.files) * steps)

            report = measure_all(
                codec,
                _pictures([source for source, _ in found.files], max_pixels, thumbnails, fail),
                qualities,
                receivers=receivers,
                baselines=anchors,
                plan=plan,
                repeats=repeats,
                metrics=of_pictures,
                sets=of_sets,
                advance=advance,
            )
        print_report(Console(stderr=json_path == STREAM), report)
        if json_path is not None:
            text = json.dumps(report.to_json(), indent=1) + "\n"
            if json_path == STREAM:
                print(text, end="", flush=True)
            else:
                write_bytes(json_path, text.encode())
        if html_path is not None:
            from pylatent.evaluation.html import report_page

            write_bytes(html_path, report_page(report, thumbnails).encode())
        if plot_path is not None:
            _plot(report, plot_path)
        if report.mismatches:
            complain(f"{count(report.mismatches, 'file')} did not decode to what was encoded")
        if report.mismatches or failures:
            raise typer.Exit(EXIT_FAILED)


def _check_plot(path: Path | None) -> None:
    if path is None:
        return
    if path.suffix.lower() not in _PLOTS:
        raise misused(f"--plot must end in {', '.join(_PLOTS[:-1])} or {_PLOTS[-1]}, got {path}")
    check_writable("--plot", path)
    need_extra("matplotlib")


def _pictures(
    files: Sequence[Path],
    max_pixels: int | None,
    thumbnails: list[bytes],
    fail: Callable[[Path, Exception], None],
) -> Iterator[tuple[str, Tensor]]:
    """Names and pictures of those files that can be read; `thumbnails` gets a small JPEG file of each."""
    from pylatent.evaluation.html import thumbnail

    nothing = True
    for file in files:
        try:
            picture, _ = read_picture(file, max_pixels)
        except Exception as error:
            fail(file, error)
            continue
        nothing = False
        thumbnails.append(thumbnail(picture))
        yield "-" if file == STREAM else file.name, picture
    if nothing:
        raise ImageError("there is no picture that could be measured")


def _plot(report: Report, path: Path) -> None:
    from pylatent.evaluation.measures import PSNR, further
    from pylatent.evaluation.plot import Line, plot_curves

    lines = [Line(report.name_of(way), report.mean_of(way)) for way in report.ways]
    lines += [Line(anchor.describe(), report.mean_of(anchor.name)) for anchor in report.baselines]
    title = f"Mean of {count(len(report.pictures), 'picture')}"
    plot_curves(lines, path, title=title, measures=(PSNR, *further(report.metrics)))
