"""Finding the file of a wanted size or PSNR: by secant steps over the quality, refined ones beyond it over lambda, and
with a residual where that takes fewer bits or these do not reach it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pylatent.coding.container import QUALITY_STEPS, Bitstream, LatFile
from pylatent.errors import TargetWarning
from pylatent.evaluation.distortion import psnr
from pylatent.residual_control import reach_bpp, reach_psnr

if TYPE_CHECKING:
    from pylatent.codecs.base import Codec
    from pylatent.codecs.latents import Latents
    from pylatent.refine.plan import Plan

_BPP_TOLERANCE = math.log(1.005)
_PSNR_TOLERANCE = 0.02  # dB
_LOG_BPP_PER_QUALITY, _PSNR_PER_QUALITY = 0.35, 1.0  # first guesses of the search with refinement
# Parts of the range of qualities: from where on a residual on a lower one is tried, and these, since it then gains
# most on one of them for most pictures.
_WORTH_A_RESIDUAL = 4 / 7
BASES = (5 / 7, 4 / 7, 2 / 7)
_LAMBDA_STEP = 1.93  # from one quality to the next, of a model that does not say


def search_target(
    codec: Codec,
    model_hash: bytes,
    x: torch.Tensor,
    target_bpp: float | None,
    target_psnr: float | None,
    plan: Plan | None,
    *,
    verify: bool = False,
) -> bytes:
    """The file of pixels (1, 3, H, W) that comes closest to the one target that is given; TargetWarning if that is far.

    A codec whose pixels are defined gets a residual where its qualities end, and already where a lower one with a
    residual takes fewer bits. With a plan, qualities beyond the model's range stand for lambdas, and a residual is for
    what lies beyond these. verify: sizes count a checksum of the pixels, which is still to come.
    """
    streams: dict[float, Bitstream] = {}
    measured: dict[float, float] = {}
    original = x[0].mul(255).round().byte().cpu()
    latents_at = codec.analyses(x)

    def to_bytes(stream: Bitstream) -> bytes:
        return LatFile(codec.name, model_hash, stream).to_bytes()

    def bpp_of(stream: Bitstream) -> float:
        whole = replace(stream, pixel_crc=0) if verify else stream
        return 8 * len(to_bytes(whole)) / (x.shape[-2] * x.shape[-1])

    def measure(quality: float, plan: Plan | None = None) -> float:
        if plan is not None:
            streams[quality] = _beyond(plan, codec, x, quality)
        if target_psnr is not None:
            coded = codec.as_coded(latents_at(quality)) if plan is None else codec.decode([streams[quality]])
            measured[quality] = psnr(original, codec.synthesize(coded)[0].cpu())
            return measured[quality]
        if plan is None:
            streams[quality] = codec.encode(latents_at(quality))[0]
        measured[quality] = bpp_of(streams[quality])
        return math.log(measured[quality])  # nearly linear in the quality

    at_most = target_bpp is not None
    wanted = target_bpp if target_bpp is not None else target_psnr
    assert wanted is not None
    goal = math.log(wanted) if at_most else wanted
    tolerance = _BPP_TOLERANCE if at_most else _PSNR_TOLERANCE
    chosen, end = 0.0, None  # of a codec with a fixed rate
    if codec.qualities is not None:
        chosen = find_quality(measure, goal, codec.qualities, at_most=at_most, tolerance=tolerance)
        end = codec.qualities[at_most]
    if plan is not None:
        slope = _LOG_BPP_PER_QUALITY if at_most else _PSNR_PER_QUALITY
        streams.clear()
        measured.clear()
        chosen = find_near(lambda q: measure(q, plan), goal, chosen, slope, at_most=at_most, tolerance=2 * tolerance)
    got = measured[chosen]
    stream = streams[chosen] if chosen in streams else codec.encode(latents_at(chosen))[0]
    bases = []
    if codec.defines_pixels and (plan is not None or codec.qualities is None):
        if chosen >= (codec.qualities or (0, 0))[1] and got < (0.98 if at_most else 1) * wanted:
            bases = [stream]
    elif codec.defines_pixels:
        bases = _below(codec, latents_at, stream)
    if bases and target_psnr is not None:
        found = reach_psnr(bases, codec, original, wanted, bpp_of)
        return to_bytes(stream if got >= wanted and bpp_of(stream) <= found.bpp else found.stream)
    if bases:
        finest = reach_bpp(bases, codec, original, wanted, bpp_of)
        if finest is not None and finest.psnr > psnr(original, codec.decompress([stream])[0].cpu()):
            return to_bytes(finest.stream)
    wrong_side = got > wanted if at_most else got < wanted
    far = got < 0.98 * wanted if at_most else got > wanted + 0.1
    if wrong_side or (far and (plan is not None or chosen == end)):
        wish = f"{wanted:g} bit per pixel" if at_most else f"{wanted:g} dB"
        best = f"quality {chosen:g}, the nearest that model {codec.name} has,"
        if plan is not None:
            best = f"refinement under the lambda of quality {chosen:g}, the nearest tried,"
        warnings.warn(f"{wish} is out of reach for this picture: {best} gives {got:.4g}", TargetWarning, stacklevel=3)
    return to_bytes(stream)


def _below(codec: Codec, latents_at: Callable[[float | None], Latents], stream: Bitstream) -> list[Bitstream]:
    """Of a high quality streams of lower ones, which with a residual may be smaller at its PSNR; of a low one none."""
    assert codec.qualities is not None
    assert stream.quality is not None
    low, high = codec.qualities
    if stream.quality < low + _WORTH_A_RESIDUAL * (high - low):
        return []
    tried = (round((low + part * (high - low)) * QUALITY_STEPS) / QUALITY_STEPS for part in BASES)
    return [codec.encode(latents_at(quality))[0] for quality in tried if quality < stream.quality]


def _beyond(plan: Plan, codec: Codec, x: torch.Tensor, quality: float) -> Bitstream:
    """The stream at any quality: beyond the model's, at its nearest one, under a lambda that goes on as its own do.

    A codec of a fixed rate counts as quality 0.
    """
    lowest, highest = codec.qualities or (0.0, 0.0)
    nearest = min(max(quality, lowest), highest)
    factor = _lambda_step(codec) ** (quality - nearest)
    return plan.compress(codec, x, None if codec.qualities is None else nearest, factor)


def _lambda_step(codec: Codec) -> float:
    """How much larger lambda is from one quality of the model to the next, about."""
    lambdas = codec.lambdas or ()
    return (lambdas[-1] / lambdas[0]) ** (1 / (len(lambdas) - 1)) if len(lambdas) > 1 else _LAMBDA_STEP


def find_quality(
    measure: Callable[[float], float],
    target: float,
    qualities: tuple[float, float],
    *,
    at_most: bool,
    tolerance: float,
) -> float:
    """The quality whose `measure`, which grows with it, comes closest to `target` from the wanted side.

    at_most: the highest quality with measure <= target (file size); otherwise the lowest with measure >= target (PSNR).
    tolerance: the search ends early at a measure on the wanted side that is off by no more than this.
    Where even the ends of `qualities` do not reach the target, the nearer end is returned. `measure` is called about
    five times where it is nearly linear, at most twenty, and never twice for one quality.
    """
    low, high = (round(quality * QUALITY_STEPS) for quality in qualities)
    below, above = measure(low / QUALITY_STEPS) - target, measure(high / QUALITY_STEPS) - target
    if below >= 0 or above <= 0:
        return (low if below >= 0 else high) / QUALITY_STEPS
    # Invariant: measure(low) < target < measure(high); `below` and `above` are those distances.
    bisect = False
    while high - low > 1:
        width = high - low
        if bisect or math.isinf(above):
            probe = low + width // 2
        else:
            probe = min(max(low + round(width * below / (below - above)), low + 1), high - 1)
        distance = measure(probe / QUALITY_STEPS) - target
        if distance == 0 or ((distance < 0) == at_most and abs(distance) <= tolerance):
            return probe / QUALITY_STEPS
        if distance < 0:
            low, below = probe, distance
        else:
            high, above = probe, distance
        # A secant step that leaves most of the bracket is followed by a bisection.
        bisect = high - low > width // 2
    return (low if at_most else high) / QUALITY_STEPS


def find_near(
    measure: Callable[[float], float],
    target: float,
    start: float,
    slope: float,
    *,
    at_most: bool,
    tolerance: float,
    tries: int = 4,
) -> float:
    """As `find_quality` where a measurement is dear: from a good start and without ends, in at most `tries` of them.

    slope: first guess of what `measure` grows by from one quality to the next. Returns the position measured closest to
    `target` from the wanted side, or closest to it if none was on that side.
    """
    distances: dict[float, float] = {}
    position = start
    for _ in range(tries):
        distances[position] = distance = measure(position) - target
        if (distance <= 0) == at_most and abs(distance) <= tolerance:
            break
        if len(distances) > 1:
            (p, a), (q, b) = list(distances.items())[-2:]
            slope = min(max((b - a) / (q - p), slope / 3), slope * 3)
        # Aims at the middle of the tolerance; steps of more than two qualities are not to be trusted.
        aim = -tolerance / 2 if at_most else tolerance / 2
        step = min(max((aim - distance) / slope, -2.0), 2.0)
        position = round((position + step) * QUALITY_STEPS) / QUALITY_STEPS
        if position in distances:
            break
    wanted = [p for p, distance in distances.items() if (distance <= 0) == at_most]
    return min(wanted or distances, key=lambda p: abs(distances[p]))
