"""The data protocol: boxes -> crops -> zero letterbox -> group-disjoint splits -> balanced sampling.

As in "An Empirical Analysis of Hyperprior Side-Information in Direct Latent-Space Image Classification" (OpenReview
VPfzijDmiV, data): crops of annotated boxes, letterboxed with zeros to 224 x 224, split 70/15/15 by plate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pylatent import images
from pylatent.tasks.annotations import AnnotatedPicture

SIZE = 224
FRACTIONS = (0.70, 0.15, 0.15)


@dataclass(frozen=True)
class Item:
    """A picture to classify: `picture` is square, RGB; items of one `group` must not be on both sides of a split."""

    key: str
    label: str
    group: str
    picture: Image.Image


@dataclass(frozen=True)
class Split:
    """Positions of the items of each part, ascending."""

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


def letterbox(picture: Image.Image, size: int = SIZE) -> Image.Image:
    """RGB -> size x size: scaled (bicubic) until the longer side fits, centred, black elsewhere."""
    scale = size / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    square = Image.new("RGB", (size, size))
    scaled = picture.resize((width, height), Image.Resampling.BICUBIC)
    square.paste(scaled, ((size - width) // 2, (size - height) // 2))
    return square


def crops(pictures: Iterable[AnnotatedPicture], size: int = SIZE) -> Iterator[Item]:
    """Every box, cut at the picture's border and letterboxed; the group is the source picture.

    Picture files with the same bytes are one group. Boxes that lie outside of their picture are left out. Raises
    ImageError.
    """
    groups: dict[str, str] = {}
    for annotated in pictures:
        data = annotated.path.read_bytes()
        group = groups.setdefault(hashlib.sha256(data).hexdigest(), annotated.path.stem)
        picture = images.to_image(images.read(data).tensor)
        for number, box in enumerate(annotated.boxes):
            left, top = max(box.left, 0), max(box.top, 0)
            right, bottom = min(box.right, picture.width), min(box.bottom, picture.height)
            if left < right and top < bottom:
                crop = picture.crop((left, top, right, bottom))
                yield Item(f"{annotated.path.stem}-{number}", box.label, group, letterbox(crop, size))


def folder_items(folder: Path, paths: Sequence[Path], size: int = SIZE) -> Iterator[Item]:
    """Pictures below folders named as their classes, letterboxed; each is its own group, files alike being one."""
    groups: dict[str, str] = {}
    for path in paths:
        data = path.read_bytes()
        key = path.relative_to(folder).as_posix()
        group = groups.setdefault(hashlib.sha256(data).hexdigest(), key)
        picture = images.to_image(images.read(data).tensor)
        yield Item(key, key.split("/")[0], group, letterbox(picture, size))


def group_split(
    groups: Sequence[str], *, fractions: tuple[float, float, float] = FRACTIONS, seed: int = 0, fold: int = 0
) -> Split:
    """Train, validation and test parts such that no group is in two of them.

    The groups are shuffled by `seed` and laid in a circle; fold k begins its test part at the k-th multiple of its
    length, so that the test parts of the first 1 / fractions[2] folds do not overlap. The fractions are of the groups.
    Raises ValueError if a part would be empty.
    """
    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    tests, validations = (round(len(names) * fraction) for fraction in (fractions[2], fractions[1]))
    if min(tests, validations, len(names) - tests - validations) < 1:
        raise ValueError(f"{len(names)} groups are too few for parts of {fractions}: each needs at least one group")
    circle = np.roll(order, -fold * tests)
    part = np.zeros(len(names), dtype=np.int64)
    part[circle[:tests]], part[circle[tests : tests + validations]] = 2, 1
    place = {name: number for number, name in enumerate(names)}
    of_item = part[[place[group] for group in groups]]
    return Split(*(np.flatnonzero(of_item == number) for number in range(3)))


def balanced_sample(labels: npt.ArrayLike, size: int, seed: int | Sequence[int]) -> npt.NDArray[np.int64]:
    """`size` positions in random order, all classes equally often (to within one); none twice before all of its class.

    labels: class numbers. A class with fewer items than its share is gone through several times.
    """
    labels = np.asarray(labels)
    generator = np.random.default_rng(seed)
    present = generator.permutation(np.unique(labels))
    picks = []
    for number, label in enumerate(present):
        share = size // len(present) + (number < size % len(present))
        members = np.flatnonzero(labels == label)
        rounds = [generator.permutation(members) for _ in range(-(-share // len(members)))]
        picks.append(np.concatenate([*rounds, members[:0]])[:share])
    return generator.permutation(np.concatenate(picks))
