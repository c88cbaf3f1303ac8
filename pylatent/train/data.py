"""Random crops of a folder of pictures, decoded once and held in memory."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pylatent import images
from pylatent._files import is_picture
from pylatent._walk import PassedOver, walk
from pylatent.errors import ImageError, PylatentWarning


def find_images(folder: Path) -> list[Path]:
    """All pictures below `folder`, sorted; warns of what cannot be searched. ImageError if there are none."""
    paths = []
    for item in walk(folder, is_picture):
        if isinstance(item, PassedOver):
            warnings.warn(f"{item.path} left out: {item.reason}", PylatentWarning, stacklevel=2)
        else:
            paths.append(item)
    if not paths:
        raise ImageError(f"there are no pictures below {folder}")
    return sorted(paths)


def load_images(folder: Path, smallest: int) -> list[Tensor]:
    """uint8 (3, H, W) of every picture whose sides are at least `smallest` pixels, as `pylatent.images` reads them.

    Pictures that cannot be read are left out with a PylatentWarning; ImageError if no picture remains.
    """
    pictures, largest = [], 0
    for path in find_images(folder):
        try:
            pixels = images.read(path).tensor
        except ImageError as error:
            warnings.warn(f"left out: {error}", PylatentWarning, stacklevel=2)
            continue
        side = min(pixels.shape[1:])
        largest = max(largest, side)
        if side >= smallest:
            pictures.append(pixels)
    if not pictures:
        raise ImageError(
            f"no picture below {folder} has both sides of at least {smallest} pixels: the largest shorter side is "
            f"{largest}; take smaller crops or larger pictures"
        )
    return pictures


def random_crops(pictures: Sequence[Tensor], size: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Endless batches (batch, 3, size, size), uint8; pictures drawn by area, half of the crops mirrored."""
    generator = np.random.default_rng(seed)
    areas = np.array([math.prod(image.shape[1:]) for image in pictures], dtype=np.float64)
    while True:
        crops = []
        for index in generator.choice(len(pictures), batch, p=areas / areas.sum()):
            image = pictures[index]
            top, left = (int(generator.integers(0, side - size + 1)) for side in image.shape[1:])
            crop = image[:, top : top + size, left : left + size]
            crops.append(crop.flip(2) if generator.random() < 0.5 else crop)
        yield torch.stack(crops)
