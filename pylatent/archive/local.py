"""Shards made by processes of this machine, each with one thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path

from pylatent._hands import do_jobs
from pylatent.archive.report import ShardReport, report_of


def make_shards(
    folder: Path,
    numbers: Sequence[int],
    model: str,
    workers: int,
    advance: Callable[[int], None],
    max_pixels: int | None = None,
) -> Generator[tuple[int, ShardReport | str], None, None]:
    """Makes the shards; yields, as they are finished, each number with its report, or with why it could not be made.

    A process that dies is replaced, and its shard tried once more. Processes do not outlive this iterator.
    """
    arguments = (os.path.abspath(folder), model, *(() if max_pixels is None else (str(max_pixels),)))
    with closing(do_jobs("pylatent.archive.worker", arguments, numbers, workers, advance)) as outcomes:
        for number, outcome in outcomes:
            yield number, outcome if isinstance(outcome, str) else report_of(outcome)
