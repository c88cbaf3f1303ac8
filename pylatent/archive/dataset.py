"""Latents of an archive as a torch dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pylatent.archive.decode import check_model
from pylatent.archive.folder import Archive
from pylatent.archive.order import SizeBatches
from pylatent.codecs.base import Codec


@dataclass(frozen=True)
class LatentItem:
    """One record decoded: y_hat and scales (M, h, w) of the shallowest level, float32; its label and key."""

    y_hat: Tensor
    scales: Tensor | None
    label: str | None
    key: str


@dataclass(frozen=True)
class LatentBatch:
    """Records of one picture size: y_hat and scales (B, M, h, w), float32; their labels and keys."""

    y_hat: Tensor
    scales: Tensor | None
    labels: list[str | None]
    keys: list[str]

    def pin_memory(self) -> LatentBatch:
        """The same in memory that a GPU copies from faster; a DataLoader asks for it."""
        scales = None if self.scales is None else self.scales.pin_memory()
        return LatentBatch(self.y_hat.pin_memory(), scales, self.labels, self.keys)


def collate(items: Sequence[LatentItem]) -> LatentBatch:
    """Items of one picture size as a batch, for a DataLoader's `collate_fn`. Raises ValueError for several sizes."""
    sizes = sorted({tuple(item.y_hat.shape[1:]) for item in items})
    if len(sizes) != 1:
        raise ValueError(
            f"items of one size can be stacked, got latents of {' and '.join(f'{h}x{w}' for h, w in sizes) or 'none'}: "
            "`LatentDataset.loader` makes batches of pictures of one size"
        )
    scales = [item.scales for item in items if item.scales is not None]
    return LatentBatch(
        torch.stack([item.y_hat for item in items]),
        torch.stack(scales) if scales else None,
        [item.label for item in items],
        [item.key for item in items],
    )


class LatentDataset(Dataset[LatentItem]):
    """Random access to quantised latents; no pixels are computed.

    `loader` gives batches of one picture size. In a DataLoader of your own, `collate_fn=collate` stacks pictures of one
    size; `__getitems__` decodes what a batch of indices asks for in one go, in native threads without the GIL.
    `decode_batches` is the faster way through a whole archive, and the one that records failures.

    archive: the records. codec: the archive's model (MismatchError otherwise). threads: CPU threads of the coder.
    Items raise FormatError if their record is damaged.
    """

    def __init__(self, archive: Archive, codec: Codec, *, threads: int | None = None) -> None:
        check_model(archive, codec)
        self.archive, self.codec, self.threads = archive, codec, threads

    def __len__(self) -> int:
        return len(self.archive)

    def __getitem__(self, position: int) -> LatentItem:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> list[LatentItem]:
        records = [self.archive[position] for position in positions]
        sizes: dict[tuple[int, int], list[int]] = {}
        for place, record in enumerate(records):
            sizes.setdefault(record.stream.size, []).append(place)
        items: dict[int, LatentItem] = {}
        for places in sizes.values():
            latents = self.codec.decode([records[place].stream for place in places], threads=self.threads)
            scales = latents.scales[0] if latents.scales is not None else None
            for row, place in enumerate(places):
                record = records[place]
                items[place] = LatentItem(
                    latents.y[row], None if scales is None else scales[row], record.label, record.key
                )
        return [items[place] for place in range(len(records))]

    def loader(
        self,
        batch_size: int = 64,
        *,
        seed: int | None = None,
        part: tuple[int, int] = (0, 1),
        workers: int = 0,
        pin_memory: bool = False,
    ) -> DataLoader[LatentItem]:
        """A DataLoader of `LatentBatch`es, each of up to `batch_size` pictures of one size.

        seed: shuffle, in another order every epoch; None for the archive's order. part: (i, n) for the i-th of n
        processes, whose parts together hold every record once; the numbers of their batches may differ. workers:
        processes that decode. Raises ValueError.
        """
        return DataLoader(
            self,
            batch_sampler=SizeBatches(self.archive, batch_size, seed=seed, part=part),
            collate_fn=collate,
            num_workers=workers,
            pin_memory=pin_memory,
        )
