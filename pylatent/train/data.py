"""Random crops of a folder of pictures, decoded once and held in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}


def find_images(folder: Path) -> list[Path]:
    """All pictures below `folder`, sorted. Raises FileNotFoundError if there are none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise FileNotFoundError(f"no pictures ({', '.join(sorted(SUFFIXES))}) were found below {folder}")
    return paths


def load_images(folder: Path, smallest: int) -> list[Tensor]:
    """uint8 (3, H, W) of every picture whose sides are at least `smallest` pixels."""
    images = []
    for path in find_images(folder):
        with Image.open(path) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
        if min(pixels.shape[1:]) >= smallest:
            images.append(pixels)
    if not images:
        raise ValueError(f"no picture below {folder} has both sides of at least {smallest} pixels")
    return images


def random_crops(images: Sequence[Tensor], size: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Endless batches (batch, 3, size, size), float32 in [0, 1]; pictures drawn by area, half of the crops mirrored."""
    generator = np.random.default_rng(seed)
    areas = np.array([math.prod(image.shape[1:]) for image in images], dtype=np.float64)
    while True:
        crops = []
        for index in generator.choice(len(images), batch, p=areas / areas.sum()):
            image = images[index]
            top, left = (int(generator.integers(0, side - size + 1)) for side in image.shape[1:])
            crop = image[:, top : top + size, left : left + size]
            crops.append(crop.flip(2) if generator.random() < 0.5 else crop)
        yield torch.stack(crops).float() / 255
