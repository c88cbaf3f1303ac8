"""High qualities: what the networks decode, and a coarse residual on top.

More bits for the latents gain ever less PSNR, since a synthesis of limited size has its own error; a transformed
residual (docs/format.md) mends the worst of it for few. On eight photographs quality 8 of default-2 takes 1.19 bits a
pixel for 37.3 dB, where the networks alone take 0.93 for 34.4 and get no further. A lower quality with a finer
residual has still more PSNR for its bits (`pylatent.rate_control` makes use of that), but looks worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pylatent._quality import check_quality
from pylatent.correction import LOWEST_PSNR, bounded, in_bytes
from pylatent.evaluation.distortion import psnr
from pylatent.transform_residual import SMALLEST_STEP, encode_coefficients

if TYPE_CHECKING:
    from pylatent.codecs.base import Codec
    from pylatent.coding.container import Bitstream

_ENOUGH = 0.025  # the weight of 255^2 MSE in training, up to which the networks do without
# Steps in eighths of a grey level, halved every second quality: sizes then rise by a third from one to the next.
_FIRST_STEP, _PER_HALVING = 566, 2


def residual_step(codec: Codec, quality: float | None) -> int | None:
    """In eighths of a grey level; None where there is no residual: at low qualities, and without defined pixels."""
    if quality is None or codec.lambdas is None or not codec.defines_pixels:
        return None
    beyond = quality - sum(weight <= _ENOUGH for weight in codec.lambdas)
    return max(round(_FIRST_STEP * 2 ** (-beyond / _PER_HALVING)), SMALLEST_STEP) if beyond > 0 else None


def compressed(
    codec: Codec, x: Tensor, quality: float | None, originals: Sequence[Tensor], *, threads: int | None = None
) -> list[Bitstream]:
    """Pixels (B, 3, H, W) in [0, 1] -> what `Codec.compress` and then `completed` make of them; nothing is decoded for
    a residual. originals: the same pictures, each as `completed` takes it. Raises as `check_quality` first of all."""
    check_quality(codec.name, codec.qualities, quality)
    if residual_step(codec, codec.default_quality if quality is None else quality) is None:
        streams = codec.compress(x, quality, threads=threads)
        return [completed(stream, codec, original) for stream, original in zip(streams, originals, strict=True)]
    streams, latents = codec.encode_and_decode(codec.analyses(x)(quality), threads=threads)
    hats = codec.synthesize_bytes(latents)
    each = zip(streams, originals, hats, strict=True)
    return [completed(stream, codec, original, hat) for stream, original, hat in each]


def completed(stream: Bitstream, codec: Codec, original: Tensor, hat: Tensor | None = None) -> Bitstream:
    """What the networks made of a picture, with the residual of its quality, or of `bounded` where it falls apart.

    original: (3, H, W), uint8 or in [0, 1]. hat: what the stream decodes to, where that is known.
    """
    step = residual_step(codec, stream.quality)
    if step is None:
        return bounded(stream, codec, original)
    hat, wanted = (codec.decompress_bytes([stream])[0] if hat is None else hat).cpu(), in_bytes(original)
    section, shown = encode_coefficients(wanted, hat, step)
    if psnr(wanted, shown) < LOWEST_PSNR or len(section) >= wanted.numel():  # more than the pixels themselves
        return bounded(stream, codec, original)
    return stream if torch.equal(shown, hat) else replace(stream, residual=section)
