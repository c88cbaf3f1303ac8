"""One picture at several qualities, and what other codecs make of it in files of the same sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from pylatent.codecs.base import Codec
from pylatent.evaluation.classical import ClassicalCodec
from pylatent.evaluation.curves import Point
from pylatent.evaluation.measure import file_point, round_trip, trip_point


@dataclass(frozen=True)
class Version:
    """The picture as one codec coded it: the file, what it decodes to (uint8 (3, H, W)), and what that cost."""

    data: bytes
    decoded: Tensor
    point: Point


@dataclass(frozen=True)
class Rate:
    """The codec's file at one quality, and each baseline's nearest file that is no smaller, by the baseline's name."""

    ours: Version
    others: dict[str, Version]


@dataclass(frozen=True)
class Comparison:
    """A picture, uint8 (3, H, W), at rates that rise."""

    model: str
    picture: Tensor
    baselines: tuple[ClassicalCodec, ...]
    rates: tuple[Rate, ...]

    @property
    def mismatches(self) -> int:
        """How many .lat files did not decode to what was encoded."""
        return sum(rate.ours.point.exact is False for rate in self.rates)


def at_equal_sizes(
    codec: Codec,
    picture: Tensor,
    qualities: Sequence[float | None],
    *,
    baselines: Sequence[ClassicalCodec],
    advance: Callable[[], None] = lambda: None,
) -> Comparison:
    """Codes a (3, H, W) uint8 picture at each quality, and with each baseline to a file of that size.

    A baseline's quality is found by bisection: its smallest file that is no smaller than ours, so that its coarse steps
    are to its own advantage. Where even its quality 1 is larger, or 100 smaller, that one is taken.
    A codec of fixed rate takes the one quality None. `advance` is called after each file.
    """
    rates = []
    for quality in qualities:
        trip = round_trip(codec, picture, quality)
        ours = Version(trip.data, trip.decoded, trip_point(trip, picture, quality))
        advance()
        others = {}
        for baseline in baselines:
            data, found = baseline.at_least(picture, len(trip.data))
            decoded = baseline.decompress(data)
            others[baseline.name] = Version(data, decoded, file_point(data, decoded, picture, found))
            advance()
        rates.append(Rate(ours, others))
    return Comparison(codec.name, picture, tuple(baselines), tuple(rates))
