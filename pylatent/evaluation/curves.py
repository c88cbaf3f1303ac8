"""Rate-distortion points of pictures, their mean over a set, and the comparison of two codecs over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from pylatent.evaluation.bdrate import bd_rate


@dataclass(frozen=True)
class Point:
    """One picture coded once, or the mean over pictures coded at the same quality.

    What was not measured is None; so is the MS-SSIM of a picture too small to have one.
    """

    quality: float | None
    pixels: float
    nbytes: float
    """Size of the whole file, headers included."""
    bpp: float
    psnr: float
    ms_ssim: float | None = None
    encode_seconds: float | None = None
    decode_seconds: float | None = None
    exact: bool | None = None
    """Whether decoding gave the latents that were encoded; of a mean, whether it did for every picture."""
    more: Mapping[str, float | None] = field(default_factory=dict)
    """By name, what else was measured (pylatent.evaluation.metrics); FID and KID of a mean alone."""

    @property
    def encode_mps(self) -> float | None:
        """Megapixels encoded in a second; of a mean, over the set as a whole."""
        return None if self.encode_seconds is None else self.pixels / self.encode_seconds / 1e6

    @property
    def decode_mps(self) -> float | None:
        return None if self.decode_seconds is None else self.pixels / self.decode_seconds / 1e6


Curve = Sequence[Point]


@dataclass(frozen=True)
class BdRate:
    """Bjontegaard delta rate over a set of pictures in percent, in the two ways in use."""

    of_mean_curve: float | None
    """Of the curves averaged over the pictures; None where the two cannot be compared (no common PSNR range)."""
    mean_of_pictures: float | None
    """The mean of each picture's own figure, over those whose curves can be compared; None if there are none."""
    pictures: int
    """How many pictures the second mean is over."""


def mean_curve(curves: Sequence[Curve]) -> list[Point]:
    """Point by point, the arithmetic mean over pictures of bytes, bpp, PSNR (in dB), MS-SSIM, seconds and the rest.

    `curves` holds one curve a picture, all at the same qualities. Raises `ValueError` otherwise.
    """
    if not curves or len({tuple(point.quality for point in curve) for curve in curves}) != 1:
        raise ValueError("a mean needs at least one curve, and all of them at the same qualities")
    return [_mean_point(points) for points in zip(*curves, strict=True)]


def compare(curves: Sequence[Curve], anchors: Sequence[Curve]) -> BdRate:
    """The BD-rate of `curves` against `anchors`, one of each a picture, in the same order."""
    by_picture = [_bd_rate(curve, anchor) for curve, anchor in zip(curves, anchors, strict=True)]
    known = [value for value in by_picture if value is not None]
    return BdRate(
        of_mean_curve=_bd_rate(mean_curve(curves), mean_curve(anchors)),
        mean_of_pictures=fmean(known) if known else None,
        pictures=len(known),
    )


def _bd_rate(curve: Curve, anchor: Curve) -> float | None:
    try:
        return bd_rate([(p.bpp, p.psnr) for p in curve], [(p.bpp, p.psnr) for p in anchor])
    except ValueError:
        return None


def _mean_point(points: Sequence[Point]) -> Point:
    exact = [p.exact for p in points if p.exact is not None]
    return Point(
        quality=points[0].quality,
        pixels=fmean(p.pixels for p in points),
        nbytes=fmean(p.nbytes for p in points),
        bpp=fmean(p.bpp for p in points),
        psnr=fmean(p.psnr for p in points),
        ms_ssim=_mean_of_known([p.ms_ssim for p in points]),
        encode_seconds=_mean_of_known([p.encode_seconds for p in points]),
        decode_seconds=_mean_of_known([p.decode_seconds for p in points]),
        exact=all(exact) if exact else None,
        more={name: _mean_of_known([p.more.get(name) for p in points]) for name in points[0].more},
    )


def _mean_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
