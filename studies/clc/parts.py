"""The parts of the study: pictures, dictionaries, codecs and measurements."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from plain import PlainMatching, SelfMatching
from torch import Tensor

from pylatent import images, zoo
from pylatent.codecs import CLC, Codec, Dictionary
from pylatent.codecs.clc import PUBLISHED
from pylatent.train.crop_features import Parts, corners, cut
from pylatent.train.data import find_images
from pylatent.train.dictionary import Build, build_dictionary

QUALITIES = (2.0, 4.0, 6.0)
CROP, BATCH, HELD_SIDE = 128, 4, 320


@dataclass(frozen=True)
class Variant:
    """Which dictionary (photos, cells, same), how many entries of it (None: every crop that there is), M, and what is
    unusual: `none`, no references (M = 0); `random`, entries drawn by lot; `plain`, without matching; `wide`, matching
    and blend of the published size. on: what is coded."""

    dictionary: str
    entries: int | None = 512
    references: int = 3
    unusual: str = ""
    on: str = "photos"

    @property
    def name(self) -> str:
        entries = "all" if self.entries is None else self.entries
        return "-".join(
            filter(None, [self.on, f"by-{self.dictionary}", f"K{entries}", f"M{self.references}", self.unusual])
        )


@dataclass(frozen=True)
class Pictures:
    """uint8 pictures of each kind: for training, for validation, and folders of those that dictionaries are made of.

    photos, cells: right halves of the pictures; dictionaries are of left halves. same: crops of right halves of
    photographs; its dictionary has these very crops, those for validation, too.
    """

    training: dict[str, list[Tensor]]
    held: dict[str, list[Tensor]]
    sources: dict[str, Path]


def gather(photos: Path, cells: Path, work: Path) -> Pictures:
    """Pictures of both kinds. photos has `train` and `val`; of cells every thirtieth is for validation."""
    training, held, sources = {}, {}, {}
    found = {"photos": (find_images(photos / "train"), find_images(photos / "val"))}
    every = find_images(cells)
    found["cells"] = ([path for n, path in enumerate(every) if n % 30], every[::30])
    for kind, (train, validation) in found.items():
        sources[kind] = work / f"left-{kind}"
        sources[kind].mkdir(parents=True, exist_ok=True)
        halves = []
        for path in (*train, *validation):
            pixels = images.read(path).tensor
            middle = pixels.shape[2] // 2
            halves.append(pixels[:, :, middle:].clone())
            if not (target := sources[kind] / f"{path.stem}.png").exists():
                images.write(images.to_image(pixels[:, :, :middle]), target)
        training[kind] = halves[: len(train)]
        held[kind] = [_centre(half) for half in halves[len(train) :]]
        if kind == "photos":
            training["same"] = [crop for half in halves[: len(train) : 3] for crop in _crops(half)]
            held["same"] = [crop for half in halves[len(train) :] for crop in _crops(half)[::8]]
    sources["same"] = work / "same"
    sources["same"].mkdir(exist_ok=True)
    for number, crop in enumerate((*training["same"], *held["same"])):
        if not (target := sources["same"] / f"{number:04d}.png").exists():
            images.write(images.to_image(crop), target)
    return Pictures(training, held, sources)


def _crops(pixels: Tensor) -> list[Tensor]:
    places = corners(pixels.shape[1], pixels.shape[2], CROP)
    return [cut(pixels, (0, *corner), CROP).clone() for corner in places]


def _centre(pixels: Tensor) -> Tensor:
    top, left = ((side - HELD_SIDE) // 2 for side in pixels.shape[1:])
    return pixels[:, top : top + HELD_SIDE, left : left + HELD_SIDE].clone()


def load_base(model: str) -> Codec:
    """A copy whose pixels are the float network's, as a conditional codec's are."""
    base = zoo.load(model)
    base.drop_synthesis()
    return base


def dictionary_for(base: Codec, pictures: Pictures, variant: Variant, seed: int, run: Path) -> Dictionary:
    """The variant's dictionary, from RUN if it is there."""
    kind, entries = variant.dictionary, variant.entries
    path = run / f"{kind}-{entries or 'all'}.dictionary"
    if not path.exists():
        source = pictures.sources[kind]
        shared = Parts(base, None, find_images(source), CROP, run / f"{kind}.parts")
        for number in shared.missing():
            shared.make(number)
        shutil.copytree(shared.work, path.with_name(f"{path.name}.parts"), dirs_exist_ok=True)
        entries = entries or len(shared.load()[1])
        build_dictionary(base, source, path, Build(path.stem, entries, crop=CROP, half=True))
    dictionary = Dictionary.load(path)
    if variant.unusual == "random":
        order = torch.randperm(len(dictionary), generator=torch.Generator().manual_seed(seed))
        return replace(dictionary, features=dictionary.features[order])
    return dictionary


def make_clc(base: Codec, dictionary: Dictionary, variant: Variant, seed: int) -> CLC:
    torch.manual_seed(seed)
    channels = base.level_shapes((1, 1))[0][0]
    widths = PUBLISHED | {"inner": min(PUBLISHED["inner"], channels)} if variant.unusual == "wide" else {}
    codec = CLC.around(base, dictionary, references=variant.references, **widths)
    inner = codec.config["inner"]
    if variant.unusual == "plain":
        codec.matching = PlainMatching(channels, inner)  # type: ignore[assignment]
    elif variant.unusual == "none":
        codec.matching = SelfMatching(channels, codec.config["width"], inner=inner)
    return codec


def noisy(dictionary: Dictionary, epsilon: float) -> Dictionary:
    """Its latents with Gaussian noise of epsilon times each entry's standard deviation."""
    generator = torch.Generator().manual_seed(0)
    y = dictionary.entries(torch.arange(len(dictionary))[None])[0]
    noise = torch.randn(y.shape, generator=generator)
    y = y + epsilon * y.flatten(1).std(1).view(-1, 1, 1, 1) * noise
    return replace(dictionary, latents=y.half(), steps=torch.ones(len(y)))


def swapped(codec: CLC, dictionary: Dictionary) -> CLC:
    """The same networks with another dictionary."""
    other = CLC.around(codec.base, dictionary, **{name: codec.config[name] for name in _SHAPE})
    other.matching.load_state_dict(codec.matching.state_dict())
    other.blend.load_state_dict(codec.blend.state_dict())
    return other.eval()


_SHAPE = ("references", "width", "inner", "hidden")


@torch.no_grad()
def measured(codec: Codec, pictures: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Of each quality: bits per pixel of whole records, the references' numbers in them, and mean PSNR."""
    rows = []
    for quality in QUALITIES:
        size, pixels, numbers, psnr = 0, 0, 0, 0.0
        for picture in pictures:
            x = picture[None].float() / 255
            (stream,) = codec.compress(x, quality)
            size += len(stream.to_record())
            pixels += x[0, 0].numel()
            numbers += len(stream.sections[0]) if isinstance(codec, CLC) else 0
            mse = (codec.decompress([stream]) - x).square().mean()
            psnr += float(-10 * torch.log10(mse)) / len(pictures)
        rows.append({"quality": quality, "bpp": 8 * size / pixels, "numbers_bpp": 8 * numbers / pixels, "psnr": psnr})
    return rows
