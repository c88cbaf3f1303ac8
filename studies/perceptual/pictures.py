"""Crops side by side, enlarged twice: the original, the start, and the perceptual receiver of the same files."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from pylatent import images
from pylatent.codecs import Codec

CROPS = (("kodim01", 196, 346), ("kodim05", 190, 190), ("kodim13", 266, 256))  # name, top, left
_SIDE, _AROUND, _SCALE, _GAP = 192, 64, 2, 8


@torch.no_grad()
def side_by_side(kodak: Path, codecs: list[Codec], quality: float, path: Path) -> None:
    """A row a crop: the original, then what each codec decodes. Surroundings are coded, too, and cut off."""
    rows = []
    for name, top, left in CROPS:
        whole = images.read(kodak / f"{name}.png").tensor
        low, high = -_AROUND, _SIDE + _AROUND
        picture = whole[:, top + low : top + high, left + low : left + high]
        x = picture[None].float() / 255
        decoded = [codec(x, quality).x_hat[0].mul(255).round().to(torch.uint8) for codec in codecs]
        rows.append(_joined([_enlarged(each) for each in (picture, *decoded)], 2))
    pixels = _joined(rows, 1)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path, quality=88)


def _enlarged(picture: Tensor) -> Tensor:
    inner = picture[:, _AROUND:-_AROUND, _AROUND:-_AROUND]
    return inner.repeat_interleave(_SCALE, 1).repeat_interleave(_SCALE, 2)


def _joined(parts: list[Tensor], axis: int) -> Tensor:
    shape = list(parts[0].shape)
    shape[axis] = _GAP
    gap = torch.full(shape, 255, dtype=torch.uint8)
    spaced = [each for part in parts for each in (part, gap)][:-1]
    return torch.cat(spaced, axis)
