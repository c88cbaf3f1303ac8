"""Pooled features of all crops of a folder's pictures, in parts that any process may make.

A part is a file of the features of some pictures, named after everything that these depend on, so that a build that was
cut goes on where it was. One thread makes it: its bytes are the same whoever does, on processors of one kind.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from pylatent import images
from pylatent._files import write_bytes
from pylatent._threads import using
from pylatent.codecs.base import Codec
from pylatent.codecs.dictionary import GRIDS, pooled
from pylatent.codecs.features import Features
from pylatent.errors import ImageError, PylatentWarning

PICTURES = 32  # in a part
_CROPS = 16  # through the analysis at a time

Place = tuple[int, int, int]  # picture, top, left


@dataclass(frozen=True)
class Parts:
    """The parts of a build. work: the folder where they lie; features: None for those of the codec's own encoder."""

    codec: Codec
    features: Features | None
    paths: Sequence[Path]
    crop: int
    work: Path

    def __len__(self) -> int:
        return -(-len(self.paths) // PICTURES)

    def missing(self) -> list[int]:
        """Numbers of the parts that are not there yet."""
        return [number for number in range(len(self)) if not self._file(number).exists()]

    def make(self, number: int) -> list[str]:
        """Make a part; returns why pictures were left out."""
        self.work.mkdir(parents=True, exist_ok=True)
        left_out: list[str] = []
        first, some = self.pictures(number)
        with using(1):
            found = [(pooled(maps), at) for maps, at in self._crops(list(enumerate(some, first)), left_out)]
        places = [place for _, several in found for place in several]
        tensors = {
            "features": torch.cat([each for each, _ in found]) if found else torch.empty(0, 0),
            "places": torch.tensor(places, dtype=torch.int64).view(-1, 3),
        }
        write_bytes(self._file(number), save(tensors))
        return left_out

    def load(self) -> tuple[Tensor, list[Place]]:
        """Pooled features (n, D) of all crops, and where these are. FileNotFoundError if a part is missing."""
        loaded = [load(self._file(number).read_bytes()) for number in range(len(self))]
        features = [tensors["features"] for tensors in loaded if len(tensors["features"])]
        places = torch.cat([torch.empty(0, 3, dtype=torch.int64), *(tensors["places"] for tensors in loaded)])
        none = torch.empty(0, sum(grid * grid for grid in GRIDS))
        return torch.cat(features) if features else none, [tuple(place) for place in places.tolist()]

    def pictures(self, number: int) -> tuple[int, Sequence[Path]]:
        """The number of a part's first picture, and all of its pictures."""
        return PICTURES * number, self.paths[PICTURES * number : PICTURES * (number + 1)]

    def _file(self, number: int) -> Path:
        first, some = self.pictures(number)
        digest = hashlib.sha256(f"{self.crop}".encode() + self._source)
        for path in some:
            digest.update(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
        return self.work / f"{first:08d}-{digest.hexdigest()[:16]}.safetensors"

    @property
    def _source(self) -> bytes:
        """A codec's fingerprint is of what decodes; features come from what analyses."""
        if self.features is not None:
            return repr(self.features.backbone).encode()
        digest = hashlib.sha256(self.codec.fingerprint())
        for name, value in self.codec.float_state().items():
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return digest.digest()

    def _crops(self, pictures: Sequence[tuple[int, Path]], left_out: list[str]) -> Iterator[tuple[Tensor, list[Place]]]:
        """Maps of features of the crops of pictures, on the CPU, in batches, and where they are."""
        for number, path in pictures:
            try:
                pixels = images.read(path).tensor
            except ImageError as error:
                left_out.append(str(error))
                continue
            places = [(number, *corner) for corner in corners(pixels.shape[1], pixels.shape[2], self.crop)]
            if not places:
                size = f"{pixels.shape[2]}x{pixels.shape[1]}"
                left_out.append(f"{path} has {size} pixels, crops have {self.crop}")
            for start in range(0, len(places), _CROPS):
                some = places[start : start + _CROPS]
                crops = torch.stack([cut(pixels, place, self.crop) for place in some])
                yield self._maps(crops), some

    @torch.no_grad()
    def _maps(self, crops: Tensor) -> Tensor:
        if self.features is None:
            return y_of(self.codec, crops)
        return self.features(crops.to(self.codec.device).float() / 255).cpu()


def warn_of(left_out: Sequence[str]) -> None:
    for reason in left_out:
        warnings.warn(f"left out: {reason}", PylatentWarning, stacklevel=3)


def corners(height: int, width: int, crop: int) -> list[tuple[int, int]]:
    """(top, left) of as many crops as a picture holds without overlap, centred."""
    rows, columns = height // crop, width // crop
    top, left = (height - rows * crop) // 2, (width - columns * crop) // 2
    return [(top + crop * row, left + crop * column) for row in range(rows) for column in range(columns)]


def cut(pixels: Tensor, place: Place, crop: int) -> Tensor:
    _, top, left = place
    return pixels[:, top : top + crop, left : left + crop]


@torch.no_grad()
def y_of(codec: Codec, crops: Tensor) -> Tensor:
    """uint8 (n, 3, crop, crop) -> y before any gain, on the CPU."""
    latents = codec.analyze(crops.to(codec.device).float() / 255)
    quality = None if latents.quality is None else crops.new_tensor(latents.quality, dtype=torch.float32)
    return codec.ungained(latents.y, None if quality is None else quality.to(codec.device)).float().cpu()
