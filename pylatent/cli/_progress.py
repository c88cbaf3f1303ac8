"""The progress bar of all verbs, on standard error where that is a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, Task


class Show(Protocol):
    """Says how far the work is: `done` of `total`, where they have changed, and what is being done."""

    def __call__(self, done: float | None = None, total: float | None = None, doing: str | None = None) -> None: ...


@contextlib.contextmanager
def progress(doing: str, *, quiet: bool = False, unit: str | None = None, share: bool = False) -> Iterator[Show]:
    """A bar while the block runs. `unit`: what a speed counts. `share`: done and total are no counts."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda done=None, total=None, doing=None: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn()]
    columns += [] if share else [MofNCompleteColumn()]
    columns += [_rate(unit)] if unit else []
    columns += [TimeElapsedColumn(), TimeLeft()]
    # stdout is not redirected: it carries data, or goes elsewhere than the bar.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, speed_estimate_period=60) as bar:
        task = bar.add_task(doing, total=None)

        def show(done: float | None = None, total: float | None = None, doing: str | None = None) -> None:
            bar.update(task, completed=done, total=total, description=doing)

        yield show


def _rate(unit: str) -> ProgressColumn:
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.3g} {unit}/s")

    return Rate()
