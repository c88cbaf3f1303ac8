"""Shards made by Ray Core tasks, one task a shard, on machines that share a file system."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path

from pylatent import _ray
from pylatent.archive.encode import make_shard
from pylatent.archive.report import ShardReport


def make_shards(
    folder: Path,
    numbers: Sequence[int],
    model: str,
    workers: int | None,
    advance: Callable[[int], None],
    max_pixels: int | None = None,
) -> Generator[tuple[int, ShardReport | str], None, None]:
    """Makes the shards; yields, as they are finished, each number with its report, or with why it could not be made.

    Archive, inputs and model must lie at the same paths on all of Ray's machines; see `pylatent._ray`.
    """
    with closing(_ray.do_jobs(_make, (os.path.abspath(folder), model, max_pixels), numbers, workers)) as outcomes:
        for number, outcome in outcomes:
            if not isinstance(outcome, str):
                advance(outcome.planned)
            yield number, outcome


def _make(number: int, folder: str, model: str, max_pixels: int | None) -> ShardReport:
    """A Ray task; the codec stays loaded in its process for the next one."""
    import torch

    from pylatent import zoo

    torch.set_num_threads(1)
    return make_shard(zoo.shared(model), Path(folder), number, max_pixels=max_pixels)
