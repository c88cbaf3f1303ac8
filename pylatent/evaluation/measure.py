"""One picture through a codec and back: the file, its cost, what is lost, the time taken, and whether it is right."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor

from pylatent._receivers import Receiver
from pylatent.codecs.base import Codec
from pylatent.codecs.latents import Latents
from pylatent.coding.container import LatFile
from pylatent.evaluation.classical import ClassicalCodec
from pylatent.evaluation.curves import Point
from pylatent.evaluation.distortion import MS_SSIM_MIN_SIDE, ms_ssim, psnr
from pylatent.high_quality import completed
from pylatent.refine.plan import Plan

Result = TypeVar("Result")
Look = Callable[[Tensor], Mapping[str, "float | None"]]
"""What was decoded, uint8 (3, H, W) -> what else is to be known of it, by name."""


def _nothing_else(decoded: Tensor) -> Mapping[str, float | None]:
    return {}


@dataclass(frozen=True)
class RoundTrip:
    """What `round_trip` made and found; by receiver, what it shows, and how long decoding took."""

    data: bytes
    shown: Mapping[Receiver, Tensor]
    encode_seconds: float
    decode_seconds: Mapping[Receiver, float]
    exact: bool


def round_trip(
    codec: Codec,
    picture: Tensor,
    quality: float | None = None,
    *,
    receivers: Sequence[Receiver] = ("full",),
    plan: Plan | None = None,
    repeats: int = 1,
) -> RoundTrip:
    """A (3, H, W) uint8 picture to the bytes of a `.lat` file, refined if there is a plan, and back to uint8 by each of
    the receivers.

    Times run from pixels in memory to the file's bytes in memory and back, the median of `repeats` each; loading the
    model and reading or writing picture files are outside. `exact` says whether the latents decoded from the bytes are
    those that were encoded. Raises ModelError for a receiver that the model does not have.
    """
    weights_hash = codec.fingerprint()[:8]

    def encode() -> tuple[Latents, bytes]:
        x = picture.to(codec.device).float().div(255)[None]
        latents = codec.analyze(x, quality, integers=True) if plan is None else plan.run(codec, x, quality).latents
        stream = completed(codec.encode(latents)[0], codec, picture)
        return latents, LatFile(codec.name, weights_hash, stream).to_bytes()

    def decode(receiver: Receiver) -> Tensor:
        return codec.decompress_bytes([LatFile.from_bytes(data).stream], receiver=receiver)[0].cpu()

    shown: dict[Receiver, Tensor] = {}
    decode_seconds: dict[Receiver, float] = {}
    with torch.no_grad():
        (latents, data), encode_seconds = _timed(encode, repeats)
        decoded = codec.decode([LatFile.from_bytes(data).stream])
        exact = same_latents(codec.as_coded(latents), decoded)
        for receiver in receivers:
            shown[receiver], decode_seconds[receiver] = _timed(partial(decode, receiver), repeats)
            exact = exact and shown[receiver].shape == picture.shape
    return RoundTrip(data, shown, encode_seconds, decode_seconds, exact)


def same_latents(a: Latents, b: Latents) -> bool:
    """Whether two latents hold the same numbers at every level, to the last bit."""
    return all(torch.equal(x, y) for x, y in zip(a.levels, b.levels, strict=True))


def measure(
    codec: Codec,
    picture: Tensor,
    quality: float | None = None,
    *,
    plan: Plan | None = None,
    repeats: int = 1,
    look: Look = _nothing_else,
) -> Point:
    """`round_trip` as a point of the rate-distortion curve, with MS-SSIM where the picture is large enough."""
    trip = round_trip(codec, picture, quality, plan=plan, repeats=repeats)
    return trip_point(trip, picture, quality, look)


def trip_point(
    trip: RoundTrip,
    picture: Tensor,
    quality: float | None,
    look: Look = _nothing_else,
    *,
    receiver: Receiver = "full",
) -> Point:
    """What `measure` gives for a round trip of the picture that has been made already, as one of its receivers shows
    it."""
    point = file_point(trip.data, trip.shown[receiver], picture, quality, look)
    seconds = trip.decode_seconds[receiver]
    return replace(point, encode_seconds=trip.encode_seconds, decode_seconds=seconds, exact=trip.exact)


def file_point(
    data: bytes, decoded: Tensor, picture: Tensor, quality: float | None, look: Look = _nothing_else
) -> Point:
    """Size of a file of a (3, H, W) uint8 picture, and PSNR, MS-SSIM and the rest of what it decodes to."""
    pixels = picture.shape[1] * picture.shape[2]
    return Point(
        quality=quality,
        pixels=pixels,
        nbytes=len(data),
        bpp=8 * len(data) / pixels,
        psnr=psnr(decoded, picture),
        ms_ssim=ms_ssim(decoded, picture) if min(picture.shape[1:]) >= MS_SSIM_MIN_SIDE else None,
        more=look(decoded),
    )


def measure_classical(
    codec: ClassicalCodec,
    picture: Tensor,
    qualities: Sequence[int] | None = None,
    *,
    look: Callable[[int, Tensor], Mapping[str, float | None]] = lambda quality, decoded: {},
) -> list[Point]:
    """The curve of a (3, H, W) uint8 picture under JPEG or WebP: file sizes and PSNR at each quality; `look` is told
    the quality, too."""
    points = []
    pixels = picture.shape[1] * picture.shape[2]
    for quality in codec.qualities if qualities is None else qualities:
        data = codec.compress(picture, quality)
        decoded = codec.decompress(data)
        bpp, more = 8 * len(data) / pixels, look(quality, decoded)
        points.append(Point(quality, pixels, len(data), bpp, psnr(decoded, picture), more=more))
    return points


def _timed(work: Callable[[], Result], repeats: int) -> tuple[Result, float]:
    if repeats < 1:
        raise ValueError(f"`repeats` must be at least 1, got {repeats}")
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return result, median(seconds)
