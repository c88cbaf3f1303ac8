"""Targets beyond a model's qualities: the pixel residual of the right steps on top of what it decodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from pylatent.coding.container import MAX_ERROR, Bitstream
from pylatent.evaluation.distortion import psnr
from pylatent.pixel_residual import encode_pixels

if TYPE_CHECKING:
    from pylatent.codecs.base import Codec

# What twice the step costs, as first guesses of the search.
_DB_PER_OCTAVE, _BPP_PER_OCTAVE = 5.0, 1.8
_FIRST_BOUND = 3
_LOSSLESS = 1000.0  # dB, which no picture but the original itself has
_BOUNDED = 2  # errors up to which values are bounded; after 2 with the bound comes 2 without, then 3 without


class Found(NamedTuple):
    """A stream with a residual, the bits per pixel of its file, and its PSNR."""

    stream: Bitstream
    bpp: float
    psnr: float


def reach_psnr(
    bases: Sequence[Bitstream], codec: Codec, original: Tensor, wanted: float, bpp_of: Callable[[Bitstream], float]
) -> Found:
    """The smallest file of at least `wanted` dB: on one of `bases`, which reach less, the coarsest residual that does.

    original: uint8 (3, H, W) on the CPU. bpp_of: bits per pixel of the file of a stream.
    """
    wanted = min(wanted, _LOSSLESS)
    step = math.sqrt(12 * 255**2 / 10 ** (wanted / 10) + 1)  # of a uniform error of so many dB
    return min(_searched(bases, codec, original, bpp_of, wanted, int(step) // 2, by_size=False), key=lambda f: f.bpp)


def reach_bpp(
    bases: Sequence[Bitstream], codec: Codec, original: Tensor, wanted: float, bpp_of: Callable[[Bitstream], float]
) -> Found | None:
    """The file of the highest PSNR with at most `wanted` bits per pixel: the finest residual on one of `bases` that
    fits; None if none does. Arguments as of `reach_psnr`."""
    found = _searched(bases, codec, original, bpp_of, wanted, _FIRST_BOUND, by_size=True)
    return max(found, key=lambda f: f.psnr, default=None)


def _searched(
    bases: Sequence[Bitstream],
    codec: Codec,
    original: Tensor,
    bpp_of: Callable[[Bitstream], float],
    wanted: float,
    first: int,
    *,
    by_size: bool,
) -> list[Found]:
    results = []
    for base in bases:
        hat = codec.decompress_bytes([replace(base, residual=None)])[0].cpu()
        tried: dict[int, Found] = {}

        def measure(place: int, base: Bitstream = base, hat: Tensor = hat, tried: dict[int, Found] = tried) -> float:
            bounded = place <= _BOUNDED
            section, shown = encode_pixels(original, hat, place if bounded else place - 1, bounded=bounded)
            stream = replace(base, residual=section)
            tried[place] = Found(stream, bpp_of(stream), psnr(original, shown))
            return tried[place].bpp if by_size else tried[place].psnr

        slope = _BPP_PER_OCTAVE if by_size else _DB_PER_OCTAVE
        place = find_bound(measure, wanted, first, slope, at_most=by_size)
        if place is not None:
            results.append(tried[place])
            first = place
    return results


def find_bound(
    measure: Callable[[int], float], target: float, first: int, slope: float, *, at_most: bool
) -> int | None:
    """The bound from 0 to 127 whose `measure`, which falls as it grows, is nearest to `target` from the wanted side.

    at_most: the smallest with measure <= target (file size); otherwise the largest with measure >= target (PSNR).
    first: where to look first. slope: guess of what `measure` falls by where 2 bound + 1 doubles. `measure` is called
    three to five times where it is about right, never twice for one bound. None if no bound is on the wanted side.
    """
    above, below = -1, MAX_ERROR + 1  # Invariant: measure(above) > target > measure(below), as far as these are bounds.
    probe, before = first, None
    while below - above > 1:
        probe = min(max(probe, above + 1), below - 1)
        octave, distance = math.log2(2 * probe + 1), measure(probe) - target
        if distance == 0:
            return probe
        if distance > 0:
            above = probe
        else:
            below = probe
        if before is not None and math.isfinite(fall := (before[1] - distance) / (octave - before[0])):
            slope = min(max(fall, slope / 4), slope * 4)
        before = octave, distance
        probe = round((2 ** (octave + min(max(distance / slope, -3.0), 3.0)) - 1) / 2)
    found = below if at_most else above
    return found if 0 <= found <= MAX_ERROR else None
