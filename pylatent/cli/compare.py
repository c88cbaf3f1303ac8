"""pylatent compare: a page that shows what a model does to a picture, beside other codecs' files of the same sizes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pylatent.cli._batch import Coded, Say, Work, run
from pylatent.cli._check import PICTURE_METRICS, check_device, check_metrics, check_model, check_terminal, receivers_of
from pylatent.cli._inputs import PICTURES, STREAM, read_picture, shown
from pylatent.cli._options import (
    Device,
    Force,
    MaxPixels,
    Metrics,
    Model,
    Qualities,
    Quiet,
    Receivers,
    SkipExisting,
    Threads,
)
from pylatent.cli._plan import Job, plan
from pylatent.cli._report import bytes_text, complain, count, failures_reported, misused
from pylatent.errors import ImageError, PylatentError

if TYPE_CHECKING:
    from torch import Tensor

    from pylatent._receivers import Receiver

_LIMIT = 2_000_000  # pixels: a page of more is slow to load


def compare(
    inputs: Annotated[list[Path], typer.Argument(help="Pictures, folders of pictures, or - for standard input.")],
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="Page, folder (for several inputs, or ending in /), or - for standard output."
        ),
    ] = None,
    quality: Qualities = None,
    crop: Annotated[
        str | None,
        typer.Option(
            help="Compare this part: 1200x800 (the middle), 1200x800+100+50 (from left and top), or `whole`. "
            "By default the whole, and the middle 2 megapixels of what has more."
        ),
    ] = None,
    model: Model = "default",
    receiver: Receivers = None,
    against: Annotated[
        str | None, typer.Option(help="Another model, name or file, beside it: one that was trained for perception.")
    ] = None,
    metric: Metrics = None,
    max_pixels: MaxPixels = None,
    device: Device = "cpu",
    threads: Threads = None,
    force: Force = False,
    skip_existing: SkipExisting = False,
    quiet: Quiet = False,
) -> None:
    """Make a page that compares a picture with what codecs make of it: photo.png to photo.html beside it.

    One file, which fetches nothing: the original, .lat files at several qualities, as each --receiver shows them, and
    JPEG, WebP and (where Pillow writes it) AVIF files of the same sizes, and another model's, any two of them under a
    slider; sizes, PSNR, MS-SSIM, LPIPS (--metric), and the curves.
    """
    with failures_reported():
        part, receivers = Part.parse(crop), receivers_of(receiver)
        planned = plan(inputs, output, ".html", PICTURES, force=force, skip_existing=skip_existing)
        if planned.jobs:
            check_terminal(planned.jobs[0].target)
            check_model(model, quality or ())
            if against is not None:
                check_model(against)
            check_metrics(metric or (), PICTURE_METRICS)
            check_device(device)
        recipe = Comparing(
            quality or (), part, model, receivers, against, metric or (), max_pixels, device, threads, quiet
        )
        run(planned, recipe, doing="comparing", quiet=quiet)


@dataclass(frozen=True)
class Comparing:
    """The options of a command line; what they mean for a picture."""

    qualities: Sequence[float]
    part: Part
    model: str
    receivers: Sequence[Receiver]
    against: str | None
    metrics: Sequence[str]
    max_pixels: int | None
    device: str
    threads: int | None
    quiet: bool

    def ready(self) -> Work:
        import torch

        from pylatent import zoo
        from pylatent._quality import spread
        from pylatent.evaluation.classical import AVIF, JPEG, WEBP
        from pylatent.evaluation.comparison import Baseline, OtherModel, at_equal_sizes
        from pylatent.evaluation.html import comparison_page
        from pylatent.evaluation.metrics import load_metrics

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        codec = zoo.load(self.model, device=self.device)
        for each in self.receivers:
            codec.check_receiver(each)
        baselines: list[Baseline] = [each for each in (JPEG, WEBP, AVIF) if each.is_available]
        if self.against is not None:
            other = zoo.load(self.against, device=self.device)
            if other.name == codec.name:
                raise misused(f"--against must be another model than --model, both are {codec.name}")
            baselines.insert(0, OtherModel(other))
        metrics, _ = load_metrics(self.metrics, device=self.device)
        qualities = sorted(set(self.qualities)) or spread(codec.qualities, step=2)

        def work(job: Job, say: Say) -> Coded:
            pixels, size = read_picture(job.source, self.max_pixels, self.quiet)
            pixels, note = self.part.of(pixels)
            if note and not self.quiet:
                complain(f"{shown(job.source)}: {note}")
            done = 0

            def advance() -> None:
                nonlocal done
                done += 1
                say(f"comparing {job.source.name[-40:]}: {done} of {len(qualities) * (1 + len(baselines))} files")

            comparison = at_equal_sizes(
                codec,
                pixels,
                qualities,
                receivers=self.receivers,
                baselines=baselines,
                metrics=metrics,
                advance=advance,
            )
            if comparison.mismatches:
                raise PylatentError(f"{count(comparison.mismatches, 'file')} did not decode to what was encoded")
            name = "standard input" if job.source == STREAM else job.source.name
            page = comparison_page(comparison, name, note).encode()
            sizes = f"{count(done, 'file')} of {count(len(qualities), 'size')}"
            return Coded(page, size, f"{sizes}, a page of {bytes_text(len(page))}")

        return work


@dataclass(frozen=True)
class Part:
    """The part of a picture that is compared: the middle if it has no corner, the default if it has no size."""

    size: tuple[int, int] | None = None
    corner: tuple[int, int] | None = None
    whole: bool = False

    @staticmethod
    def parse(text: str | None) -> Part:
        """Of the option --crop; ends the command where that means nothing."""
        if text is None or text == "whole":
            return Part(whole=text is not None)
        found = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})(\+(\d{1,6})\+(\d{1,6}))?", text, re.ASCII)
        if found is None:
            raise misused(f"--crop must be 1200x800, 1200x800+100+50 or whole, got {text}")
        return Part((int(found[1]), int(found[2])), (int(found[4]), int(found[5])) if found[3] else None)

    def of(self, picture: Tensor) -> tuple[Tensor, str]:
        """The part of a (3, H, W) picture and what it is, nothing for all of it. ImageError if it is not inside."""
        height, width = picture.shape[1:]
        if self.whole or (self.size is None and width * height <= _LIMIT):
            return picture, ""
        shrink = (_LIMIT / (width * height)) ** 0.5
        size = self.size or (max(1, int(width * shrink)), max(1, int(height * shrink)))
        left, top = self.corner or ((width - size[0]) // 2, (height - size[1]) // 2)
        if left < 0 or top < 0 or left + size[0] > width or top + size[1] > height:
            asked = f"{size[0]}x{size[1]}" + (f"+{left}+{top}" if self.corner else "")
            raise ImageError(f"--crop {asked} is not inside the picture of {width}x{height} pixels")
        where = f"from {left}, {top}" if self.corner else "the middle"
        note = f"{where}, {size[0]} × {size[1]} of {width} × {height}"
        return picture[:, top : top + size[1], left : left + size[0]].contiguous(), note
