"""A progress bar for many pictures: how many, how many in a second, and the time left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Show = Callable[[int, int], None]  # pictures done, of how many


@contextlib.contextmanager
def rate_bar(doing: str, *, quiet: bool = False) -> Iterator[Show]:
    """A bar on stderr while the block runs, where that is a terminal; the function says how far it is."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.3g} images/s")

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeLeft())
    # stdout is not redirected: it carries data.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, speed_estimate_period=60) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
