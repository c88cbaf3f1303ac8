"""Latents of an archive as a torch dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.utils.data import Dataset

from pylatent.archive.decode import check_model
from pylatent.archive.folder import Archive
from pylatent.codecs.base import Codec


@dataclass(frozen=True)
class LatentItem:
    """One record decoded: y_hat and scales (M, h, w) of the shallowest level, float32; its label and key."""

    y_hat: Tensor
    scales: Tensor | None
    label: str | None
    key: str


class LatentDataset(Dataset[LatentItem]):
    """Random access to quantised latents; no pixels are computed.

    Works with `torch.utils.data.DataLoader`: `__getitems__` decodes what a batch of indices asks for in one go, records
    of one size together, in native threads without the GIL. `collate_fn` is the caller's, since pictures may differ in
    size; `decode_batches` is the faster way through a whole archive, and the one that records failures.

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
