"""Qualities beyond what a codec's networks are good for: the last one that they are good for, and a residual.

More bits for the latents gain less and less, since a synthesis of limited size has its own error. A transformed residual
(docs/format.md) has no end, and at one PSNR the networks' quality 4 with it takes fewer bits than they do alone:
default-2 on eight photographs 7 % at quality 5, 16 at 6 and 26 at 7.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from pylatent.coding.container import QUALITY_STEPS, Bitstream
from pylatent.correction import LOWEST_PSNR, bounded, in_bytes
from pylatent.evaluation.distortion import psnr
from pylatent.transform_residual import SMALLEST_STEP, encode_coefficients

if TYPE_CHECKING:
    from pylatent.codecs.base import Codec

_ENOUGH = 0.015  # the weight of 255^2 MSE, up to which the networks are good
# Steps of residuals in eighths of a grey level, halved every 3/2 qualities: file sizes then rise by a third to two
# thirds from one quality to the next, as they do below.
_FIRST_STEP, _PER_HALVING = 540, 1.5


class Rung(NamedTuple):
    """How a quality is made: the quality of the networks, and the step of a residual or None for no residual."""

    base: float | None
    step: int | None


def rung(codec: Codec, quality: float | None) -> Rung:
    """A residual needs pixels that are the same everywhere; without these, all qualities are the networks' own."""
    if quality is None:
        quality = codec.default_quality
    if quality is None or codec.lambdas is None or not codec.defines_pixels:
        return Rung(quality, None)
    good = sum(weight <= _ENOUGH for weight in codec.lambdas)
    beyond = round((quality - good) * QUALITY_STEPS) / QUALITY_STEPS
    if not good or beyond <= 0:
        return Rung(quality, None)
    return Rung(float(good), max(round(_FIRST_STEP * 2 ** (-beyond / _PER_HALVING)), SMALLEST_STEP))


def completed(stream: Bitstream, codec: Codec, original: Tensor, step: int | None) -> Bitstream:
    """The stream of a rung's base with the residual of its step; a picture that falls apart gets a bounded one.

    original: (3, H, W), uint8 or in [0, 1].
    """
    if step is None:
        return bounded(stream, codec, original)
    hat, wanted = codec.decompress_bytes([stream])[0].cpu(), in_bytes(original)
    section, shown = encode_coefficients(wanted, hat, step)
    if psnr(wanted, shown) < LOWEST_PSNR:
        return bounded(stream, codec, original)
    return replace(stream, residual=section)
