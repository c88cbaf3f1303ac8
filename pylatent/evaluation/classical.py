"""JPEG, WebP and AVIF by way of Pillow, the codecs that a learned one is compared with.

Rates are those of whole files, headers included, as they are for `.lat` files. Settings are the best that Pillow offers
at its default chroma format, 4:2:0: Huffman tables optimised for JPEG, the slowest search (`method=6`) for WebP. AVIF
keeps Pillow's own `speed=6`: the slower ones take seconds a file.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class ClassicalCodec:
    """One of Pillow's lossy formats at fixed settings; `JPEG`, `WEBP` and `AVIF` below are those in use."""

    name: str
    pillow_format: str
    settings: tuple[tuple[str, Any], ...]
    qualities: tuple[int, ...]
    """The sweep that makes a rate-distortion curve."""

    @property
    def is_available(self) -> bool:
        """Whether Pillow writes the format: AVIF since 11.3, where it was built with it, or by a plugin."""
        Image.init()
        return self.pillow_format in Image.SAVE

    @property
    def media_type(self) -> str:
        return f"image/{self.pillow_format.lower()}"

    def compress(self, picture: Tensor, quality: int) -> bytes:
        """The file of a (3, H, W) uint8 picture at a quality from 1 to 100."""
        if picture.dtype != torch.uint8 or picture.ndim != 3 or picture.shape[0] != 3:
            raise ValueError(f"`picture` must be a (3, H, W) uint8 tensor, got {tuple(picture.shape)} {picture.dtype}")
        image = Image.fromarray(np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy()))
        file = io.BytesIO()
        image.save(file, self.pillow_format, quality=quality, **dict(self.settings))
        return file.getvalue()

    def decompress(self, data: bytes) -> Tensor:
        """The (3, H, W) uint8 picture in a file that `compress` made."""
        with Image.open(io.BytesIO(data), formats=[self.pillow_format]) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)

    def at_least(self, picture: Tensor, nbytes: int) -> tuple[bytes, int]:
        """The file of lowest quality that is no smaller than `nbytes`, and its quality; the largest file if all are.

        Comparing with this one gives the classical codec the benefit of its coarse quality steps.
        """
        low, high, found = 1, 100, None
        while low < high:
            middle = (low + high) // 2
            data = self.compress(picture, middle)
            if len(data) >= nbytes:
                high, found = middle, data
            else:
                low = middle + 1
        return found or self.compress(picture, low), low

    def describe(self) -> str:
        """Name and settings, for captions and reports: `JPEG (Pillow, 4:2:0, optimize=True)`."""
        others = dict(self.settings)
        chroma = others.pop("subsampling", "4:2:0")
        return f"{self.name} ({', '.join(['Pillow', chroma, *(f'{key}={value}' for key, value in others.items())])})"


JPEG = ClassicalCodec("JPEG", "JPEG", (("optimize", True),), (5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95))
WEBP = ClassicalCodec("WebP", "WEBP", (("method", 6),), (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95))
AVIF = ClassicalCodec("AVIF", "AVIF", (("speed", 6),), (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95))
