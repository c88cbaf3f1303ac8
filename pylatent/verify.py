"""Files that are decoded when they are written: a checksum of their pixels, and a warning if these are far off."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from pylatent.codecs.pixel_crc import pixel_crc
from pylatent.coding.container import LatFile
from pylatent.correction import LOWEST_PSNR, in_bytes
from pylatent.errors import DistortionWarning, ModelError
from pylatent.evaluation.distortion import psnr

if TYPE_CHECKING:
    from pylatent.codecs.base import Codec


def verified(data: bytes, codec: Codec, original: Tensor) -> bytes:
    """A `.lat` file with the checksum of the pixels that it decodes to.

    original: (3, H, W) in [0, 1]; a DistortionWarning if the decoded picture has less than 20 dB. Raises ModelError if
    the codec's pixels are not the same everywhere, and what decoding raises if the file is not right.
    """
    if not codec.defines_pixels:
        raise ModelError(
            f"model {codec.name} has no integer synthesis: its pixels may differ by a grey level between machines, and "
            "a checksum of them would be wrong elsewhere; leave `verify` out, or take the default model"
        )
    file = LatFile.from_bytes(data)
    pixels = codec.decompress_bytes([file.stream])[0].cpu()
    reached = psnr(in_bytes(original), pixels)
    if reached < LOWEST_PSNR:
        quality, best = file.stream.quality, (codec.qualities or (0.0, 0.0))[1]
        advice = "" if quality is None or quality >= best else f"take a higher quality, up to {best:g}, or "
        warnings.warn(
            f"the decoded picture has {reached:.1f} dB, and may not be recognised: {advice}keep it in another format, "
            "PNG or WebP",
            DistortionWarning,
            stacklevel=3,
        )
    return replace(file, stream=replace(file.stream, pixel_crc=pixel_crc(pixels))).to_bytes()
