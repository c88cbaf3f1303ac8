"""In which order an archive's records are read, and by whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch.utils.data import Sampler

from pylatent.archive.folder import Archive

Item = TypeVar("Item")

_WAITING = 16  # batches' worth of records of all sizes that wait for more of their size


def order(count: int, *, seed: int | None = None, part: tuple[int, int] = (0, 1)) -> Sequence[int]:
    """Positions below `count`: all, or with `seed` a permutation of them, of which `part` (i, n) takes every n-th.

    The n parts of one seed hold every position once; their lengths differ by one at most. Raises ValueError.
    """
    index, parts = part
    if not 0 <= index < parts:
        raise ValueError(f"`part` must be (i, n) with 0 <= i < n, got {part}")
    if seed is None:
        return range(index, count, parts)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[index::parts].tolist()


def by_size(sized: Iterable[tuple[Item, Hashable]], batch: int) -> Iterator[list[Item]]:
    """Items, given with their pictures' sizes (or what else they share), up to `batch` of one together, about in order.

    A batch that others have outrun for long comes incomplete, as do the last ones.
    """
    waiting: dict[Hashable, list[Item]] = defaultdict(list)
    count = 0
    for item, size in sized:
        waiting[size].append(item)
        count += 1
        if len(waiting[size]) < batch:
            if count <= _WAITING * batch:
                continue
            size = max(waiting, key=lambda each: len(waiting[each]))
        count -= len(waiting[size])
        yield waiting.pop(size)
    yield from waiting.values()


class SizeBatches(Sampler[list[int]]):
    """Batches of positions whose pictures have one size, for a DataLoader's `batch_sampler`.

    With a seed, every epoch (pass through it) has another order. Arguments as of `LatentDataset.loader`.
    """

    def __init__(
        self, archive: Archive, batch_size: int, *, seed: int | None = None, part: tuple[int, int] = (0, 1)
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, got {batch_size}")
        order(0, part=part)
        self.archive, self.batch_size, self.seed, self.part = archive, batch_size, seed, part
        self.epoch = 0

    def __iter__(self) -> Iterator[list[int]]:
        seed = None if self.seed is None else self.seed + self.epoch
        self.epoch += 1
        positions = order(len(self.archive), seed=seed, part=self.part)
        return by_size(((position, self.archive[position].stream.size) for position in positions), self.batch_size)
