"""The checksum of decoded pixels that a record may hold: any machine can see that it decodes the same picture."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from pylatent.coding.container import Bitstream
from pylatent.errors import MismatchError


def pixel_crc(pixels: Tensor) -> int:
    """CRC-32 of a picture, uint8 (3, H, W): over red, green and blue of each pixel, row by row."""
    return zlib.crc32(pixels.permute(1, 2, 0).contiguous().cpu().numpy().tobytes())


def check_pixel_crcs(streams: Sequence[Bitstream], pixels: Tensor) -> None:
    """Raises MismatchError if pixels (B, 3, H, W), uint8 or in [0, 1], are not those that a stream's checksum tells."""
    for stream, picture in zip(streams, pixels, strict=True):
        if stream.pixel_crc is None:
            continue
        shown = picture if picture.dtype == torch.uint8 else picture.mul(255).round().to(torch.uint8)
        found = pixel_crc(shown)
        if found != stream.pixel_crc:
            raise MismatchError(
                f"the decoded pixels are not those that the file was written for: their CRC is {found:08x}, the file "
                f"says {stream.pixel_crc:08x}. The file is intact: this machine, or this release, computes other "
                "pixels. `pylatent config` shows what it computes with; PYLATENT_SIMD=scalar or PYLATENT_PURE=1 "
                "computes with less; please report it"
            )
