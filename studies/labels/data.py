"""What the study of latent_classification.py is made on: crops, coded records and their latents, each made once.

WORK/items.json   key, class and source picture of every crop
WORK/crops.npy    uint8 (n, 3, 224, 224)
WORK/q3.lats      the records of quality 3, an archive
WORK/q3-y.npy, q3-scales.npy   what `decode` returns for them, rounded to float16
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pylatent import zoo
from pylatent._files import atomic_writer, write_bytes
from pylatent.archive import Archive, Record, decode_batches, write_shard
from pylatent.codecs.base import Codec
from pylatent.codecs.latents import Latents
from pylatent.coding.container import HASH_BYTES
from pylatent.tasks.annotations import AnnotatedPicture, read_voc
from pylatent.tasks.data import SIZE, Split, crops, group_split

QUALITIES = (3.0, 1.0, 2.0, 6.0)
FOLDS = 5
_BATCH = 8


@dataclass(frozen=True)
class Items:
    """Crops by their number: `labels` are class numbers, `groups` the source pictures."""

    keys: list[str]
    classes: list[str]
    labels: np.ndarray
    groups: list[str]

    def split(self, fold: int) -> Split:
        return group_split(self.groups, fold=fold)


class Data:
    """The folder WORK. `most` crops of a class are taken from a source picture, all where it has no more."""

    def __init__(self, work: Path, *, most: int, pictures: int | None = None) -> None:
        self.work, self.most, self.pictures = work, most, pictures

    def cut(self, voc: Path, codec: Codec) -> None:
        """Makes the crops if they are missing. Raises ValueError where WORK was made with other settings."""
        self.work.mkdir(parents=True, exist_ok=True)
        settings = {"most": self.most, "pictures": self.pictures, "model": codec.fingerprint().hex()}
        if not (self.work / "items.json").exists():
            self._crop(voc, settings)
        if json.loads((self.work / "items.json").read_text())["settings"] != settings:
            raise ValueError(f"{self.work} was made with other settings: name another folder")

    def code(self, quality: float) -> None:
        """Makes the records and latents of a quality if they are missing."""
        codec = zoo.shared("default")
        if not self.archive_path(quality).exists():
            self._encode(codec, quality)
        if not self._latents(quality, "scales").exists():
            self._decode(codec, quality)

    def _crop(self, voc: Path, settings: dict[str, object]) -> None:
        generator = np.random.default_rng(0)
        chosen = [_some(picture, self.most, generator) for picture in read_voc(voc)[: self.pictures]]
        items = sorted(crops(chosen), key=lambda item: item.key.encode())
        pixels = np.stack([np.asarray(item.picture).transpose(2, 0, 1) for item in items])
        with atomic_writer(self.work / "crops.npy") as file:
            np.save(file, pixels)
        lines = [[item.key, item.label, item.group] for item in items]
        write_bytes(self.work / "items.json", json.dumps({"settings": settings, "items": lines}).encode())

    def _encode(self, codec: Codec, quality: float) -> None:
        items, records = self.items(), []
        for first in range(0, len(items.keys), _BATCH):
            streams = codec.compress(self.pixels(np.arange(first, min(first + _BATCH, len(items.keys)))), quality)
            for number, stream in enumerate(streams, first):
                records.append(Record(items.keys[number], items.classes[items.labels[number]], stream))
        write_shard(self.archive_path(quality), codec.name, codec.fingerprint()[:HASH_BYTES], records)

    def _decode(self, codec: Codec, quality: float) -> None:
        y, scales = [], []
        for batch in decode_batches(Archive(self.archive_path(quality)), codec, batch=_BATCH):
            assert batch.latents.scales is not None
            assert batch.latents.scales[0] is not None
            y.append(batch.latents.levels[0].half().numpy())
            scales.append(batch.latents.scales[0].half().numpy())
        for name, values in (("y", y), ("scales", scales)):
            with atomic_writer(self._latents(quality, name)) as file:
                np.save(file, np.concatenate(values))

    def items(self) -> Items:
        lines = json.loads((self.work / "items.json").read_text())["items"]
        classes = sorted({label for _, label, _ in lines})
        labels = np.array([classes.index(label) for _, label, _ in lines])
        return Items([key for key, _, _ in lines], classes, labels, [group for _, _, group in lines])

    def archive_path(self, quality: float) -> Path:
        return self.work / f"q{quality:g}.lats"

    def pixels(self, positions: np.ndarray) -> Tensor:
        """Crops (n, 3, 224, 224), float32 in [0, 1]."""
        crops = np.load(self.work / "crops.npy", mmap_mode="r")
        return torch.from_numpy(crops[positions]).float() / 255

    def decoded(self, codec: Codec, quality: float, positions: np.ndarray) -> Tensor:
        """The same, compressed and decompressed, rounded to 8 bits."""
        archive = Archive(self.archive_path(quality))
        x_hat = codec.decompress([archive[int(position)].stream for position in positions])
        return x_hat.mul(255).round().div(255)

    def latents(self, quality: float, positions: np.ndarray, scales_of: np.ndarray | None = None) -> Latents:
        """Quantised latents of some items, with the scales of the items `scales_of`, their own by default."""
        y = np.load(self._latents(quality, "y"), mmap_mode="r")[positions]
        s = np.load(self._latents(quality, "scales"), mmap_mode="r")[positions if scales_of is None else scales_of]
        channels_last = torch.channels_last
        y_hat, scales = (torch.from_numpy(v).float().contiguous(memory_format=channels_last) for v in (y, s))
        return Latents((y_hat,), (SIZE, SIZE), (quality,) * len(positions), None, (scales,))

    def _latents(self, quality: float, name: str) -> Path:
        return self.work / f"q{quality:g}-{name}.npy"


def _some(picture: AnnotatedPicture, most: int, generator: np.random.Generator) -> AnnotatedPicture:
    order = generator.permutation(len(picture.boxes))
    kept: list[int] = []
    for number in order:
        label = picture.boxes[number].label
        if sum(picture.boxes[other].label == label for other in kept) < most:
            kept.append(int(number))
    return AnnotatedPicture(picture.path, tuple(picture.boxes[number] for number in sorted(kept)))
