"""Latents of an archive as an iterable torch dataset, shard after shard: for archives behind URLs, and many workers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pylatent.archive.dataset import LatentBatch
from pylatent.archive.decode import check_model, decode_batches
from pylatent.archive.folder import Archive
from pylatent.archive.order import order
from pylatent.archive.reader import Failure
from pylatent.codecs.base import Codec


class LatentStream(IterableDataset[LatentBatch]):
    """Batches of quantised latents, each of pictures of one size; no pixels are computed.

    Shards are read from front to end, which a network serves well, and shared among the workers of a DataLoader
    (`loader`, or one of your own with `batch_size=None`), so that every record comes once. A worker beyond the number
    of shards has nothing to do; `LatentDataset` shares single records.

    archive, codec: as for `LatentDataset`. batch: pictures of a batch, at most. seed: shuffle the shards, and the
    records within each; None for the archive's order. `set_epoch` makes another order. part: (i, n) for the shards of
    the i-th of n processes. threads: CPU threads of the coder. failures: where given, damaged records are recorded
    there (in the copies of it that workers of a DataLoader have) and left out; otherwise the first one raises. Raises
    MismatchError, ValueError.
    """

    def __init__(
        self,
        archive: Archive,
        codec: Codec,
        batch: int = 64,
        *,
        seed: int | None = None,
        part: tuple[int, int] = (0, 1),
        threads: int | None = None,
        failures: list[Failure] | None = None,
    ) -> None:
        check_model(archive, codec)
        order(0, part=part)
        if batch < 1:
            raise ValueError(f"`batch` must be at least 1, got {batch}")
        self.archive, self.codec, self.batch = archive, codec, batch
        self.seed, self.part, self.threads, self.failures = seed, part, threads, failures
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Shuffle in this epoch's order, as of torch's DistributedSampler: to be called before each pass."""
        self.epoch = epoch

    def loader(self, *, workers: int = 0, pin_memory: bool = False) -> DataLoader[LatentBatch]:
        """A DataLoader of the batches. workers: processes that read and decode."""
        return DataLoader(self, batch_size=None, num_workers=workers, pin_memory=pin_memory)

    def __iter__(self) -> Iterator[LatentBatch]:
        worker, (index, parts) = get_worker_info(), self.part
        if worker is not None:
            index, parts = index * worker.num_workers + worker.id, parts * worker.num_workers
        seed = None if self.seed is None else self.seed + self.epoch
        spans = self.archive.spans()
        shards = order(len(spans), seed=seed, part=(index, parts))
        positions = itertools.chain.from_iterable(self._within(spans[shard], seed) for shard in shards)
        for found in decode_batches(
            self.archive,
            self.codec,
            batch=self.batch,
            threads=self.threads,
            failures=self.failures,
            positions=positions,
        ):
            scales = None if found.latents.scales is None else found.latents.scales[0]
            yield LatentBatch(found.latents.y, scales, found.labels, found.keys)

    @staticmethod
    def _within(span: range, seed: int | None) -> Iterator[int]:
        return (span[place] for place in order(len(span), seed=None if seed is None else seed + span.start))
