"""Targets that a residual reaches with fewer bits than a model's highest qualities, or beyond them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from pylatent.coding.container import Bitstream
from pylatent.evaluation.distortion import psnr
from pylatent.pixel_residual import encode_pixels
from pylatent.transform_residual import encode_coefficients

if TYPE_CHECKING:
    from pylatent.codecs.base import Codec

# The search goes over places in a list, from what costs most bits on: residuals that bound the error by 0 and by 1,
# then transformed ones of ever larger steps, 24 an octave, in eighths of a grey level.
_BOUNDED = 2
_OCTAVE = 24
_QUANTA = tuple(dict.fromkeys(round(22 * 2 ** (i / _OCTAVE)) for i in range(round(_OCTAVE * math.log2(1023 / 22)) + 1)))
PLACES = _BOUNDED + len(_QUANTA)
# What twice the step costs, as first guesses of the search.
_DB_PER_OCTAVE, _BPP_PER_OCTAVE = 5.0, 0.9
_FIRST = _BOUNDED + 2 * _OCTAVE  # 88 eighths, some 40 dB
_LOSSLESS = 1000.0  # dB, which no picture but the original itself has


class Found(NamedTuple):
    """A stream with a residual, the bits per pixel of its file, and its PSNR."""

    stream: Bitstream
    bpp: float
    psnr: float


def reach_psnr(
    bases: Sequence[Bitstream], codec: Codec, original: Tensor, wanted: float, bpp_of: Callable[[Bitstream], float]
) -> Found:
    """The smallest file of at least `wanted` dB: on one of `bases`, the coarsest residual that makes it so.

    original: uint8 (3, H, W) on the CPU. bpp_of: bits per pixel of the file of a stream.
    """
    wanted = min(wanted, _LOSSLESS)
    return min(_searched(bases, codec, original, bpp_of, wanted, by_size=False), key=lambda f: f.bpp)


def reach_bpp(
    bases: Sequence[Bitstream], codec: Codec, original: Tensor, wanted: float, bpp_of: Callable[[Bitstream], float]
) -> Found | None:
    """The file of the highest PSNR with at most `wanted` bits per pixel: the finest residual on one of `bases` that
    fits; None if none does. Arguments as of `reach_psnr`."""
    return max(_searched(bases, codec, original, bpp_of, wanted, by_size=True), key=lambda f: f.psnr, default=None)


def _searched(
    bases: Sequence[Bitstream],
    codec: Codec,
    original: Tensor,
    bpp_of: Callable[[Bitstream], float],
    wanted: float,
    *,
    by_size: bool,
) -> list[Found]:
    results, first = [], _FIRST
    for base in bases:
        hat = codec.decompress_bytes([replace(base, residual=None)])[0].cpu()
        tried: dict[int, Found] = {}

        def measure(place: int, base: Bitstream = base, hat: Tensor = hat, tried: dict[int, Found] = tried) -> float:
            section, shown = residual_at(place, original, hat)
            stream = replace(base, residual=section)
            tried[place] = Found(stream, bpp_of(stream), psnr(original, shown))
            return tried[place].bpp if by_size else tried[place].psnr

        slope = (_BPP_PER_OCTAVE if by_size else _DB_PER_OCTAVE) / _OCTAVE
        place = find_place(measure, wanted, first, slope, PLACES, at_most=by_size)
        if place is not None:
            results.append(tried[place])
            first = place
    return results


def residual_at(place: int, original: Tensor, hat: Tensor) -> tuple[bytes, Tensor]:
    """The section of a place, from 0 (lossless) to PLACES - 1, and the pixels that it makes of `hat`."""
    if place < _BOUNDED:
        return encode_pixels(original, hat, place)
    return encode_coefficients(original, hat, _QUANTA[place - _BOUNDED])


def find_place(
    measure: Callable[[int], float], target: float, first: int, slope: float, places: int, *, at_most: bool
) -> int | None:
    """The place from 0 to `places` - 1 whose `measure`, which falls from place to place, is nearest to `target` from
    the wanted side.

    at_most: the first with measure <= target (file size); otherwise the last with measure >= target (PSNR). first:
    where to look first. slope: guess of what `measure` falls by from one place to the next. `measure` is called four to
    six times where it is about right, never twice for one place. None if no place is on the wanted side.
    """
    above, below = -1, places  # Invariant: measure(above) > target > measure(below), as far as these are places.
    probe, before = first, None
    while below - above > 1:
        probe = min(max(probe, above + 1), below - 1)
        distance = measure(probe) - target
        if distance == 0:
            return probe
        if distance > 0:
            above = probe
        else:
            below = probe
        if before is not None and math.isfinite(fall := (before[1] - distance) / (probe - before[0])):
            slope = min(max(fall, slope / 4), slope * 4)
        before = probe, distance
        away = min(max(distance / slope, -3 * _OCTAVE), 3 * _OCTAVE)
        probe += math.ceil(away) if distance > 0 else math.floor(away)
    found = below if at_most else above
    return found if 0 <= found < places else None
