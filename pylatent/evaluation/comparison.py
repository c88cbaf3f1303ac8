"""One picture at several qualities, and what other codecs make of it in files of the same sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from torch import Tensor

from pylatent._receivers import Receiver
from pylatent.codecs.base import Codec
from pylatent.codecs.latents import Latents
from pylatent.coding.container import LatFile
from pylatent.evaluation.curves import Point
from pylatent.evaluation.measure import file_point, round_trip, trip_point
from pylatent.evaluation.metrics import PictureMetric, numbers
from pylatent.high_quality import completed


class Baseline(Protocol):
    """What a codec is compared with: `ClassicalCodec`, or another model."""

    @property
    def name(self) -> str: ...

    @property
    def media_type(self) -> str:
        """Of its files; empty if browsers do not know them."""

    def describe(self) -> str: ...

    def at_least(self, picture: Tensor, nbytes: int) -> tuple[bytes, float | None]: ...

    def decompress(self, data: bytes) -> Tensor: ...


@dataclass(frozen=True)
class OtherModel:
    """A second model, at the qualities at which its files are as large as the first's."""

    codec: Codec
    media_type: str = ""

    @property
    def name(self) -> str:
        return self.codec.name

    def describe(self) -> str:
        return f"model {self.name}" + (", at its one rate" if self.codec.qualities is None else "")

    def compress(self, picture: Tensor, quality: float | None) -> bytes:
        """The .lat file of a (3, H, W) uint8 picture."""
        return self._file(picture, self._analyses(picture)(quality))

    def _analyses(self, picture: Tensor) -> Callable[[float | None], Latents]:
        return self.codec.analyses(picture.to(self.codec.device).float().div(255)[None])

    def _file(self, picture: Tensor, latents: Latents) -> bytes:
        stream = completed(self.codec.encode(latents)[0], self.codec, picture)
        return LatFile(self.name, self.codec.fingerprint()[:8], stream).to_bytes()

    def decompress(self, data: bytes) -> Tensor:
        """The (3, H, W) uint8 picture in a file that `compress` made."""
        return self.codec.decompress_bytes([LatFile.from_bytes(data).stream])[0].cpu()

    def at_least(self, picture: Tensor, nbytes: int) -> tuple[bytes, float | None]:
        """The file of lowest quality, in sixteenths, that is no smaller than `nbytes`, and its quality; the largest
        file if all are; of a fixed rate the one that there is."""
        if self.codec.qualities is None:
            return self.compress(picture, None), None
        low, high = (round(16 * end) for end in self.codec.qualities)
        found, latents_at = None, self._analyses(picture)
        while low < high:
            middle = (low + high) // 2
            data = self._file(picture, latents_at(middle / 16))
            if len(data) >= nbytes:
                high, found = middle, data
            else:
                low = middle + 1
        return found or self._file(picture, latents_at(low / 16)), low / 16


@dataclass(frozen=True)
class Version:
    """The picture as one codec coded it: the file, what it decodes to (uint8 (3, H, W)), and what that cost."""

    data: bytes
    decoded: Tensor
    point: Point


@dataclass(frozen=True)
class Rate:
    """The codec's file at one quality as each of its receivers shows it, and each baseline's nearest file that is no
    smaller, by the baseline's name."""

    ours: Mapping[Receiver, Version]
    others: Mapping[str, Version]


@dataclass(frozen=True)
class Comparison:
    """A picture, uint8 (3, H, W), at rates that rise."""

    model: str
    picture: Tensor
    baselines: tuple[Baseline, ...]
    rates: tuple[Rate, ...]

    metrics: Mapping[str, str] = field(default_factory=dict)
    """What was measured beside PSNR and MS-SSIM, and by what."""

    @property
    def mismatches(self) -> int:
        """How many .lat files did not decode to what was encoded."""
        return sum(any(version.point.exact is False for version in rate.ours.values()) for rate in self.rates)


def at_equal_sizes(
    codec: Codec,
    picture: Tensor,
    qualities: Sequence[float | None],
    *,
    receivers: Sequence[Receiver] = ("full",),
    baselines: Sequence[Baseline],
    metrics: Sequence[PictureMetric] = (),
    advance: Callable[[], None] = lambda: None,
) -> Comparison:
    """Codes a (3, H, W) uint8 picture at each quality, and with each baseline to a file of that size.

    A baseline's quality is found by bisection: its smallest file that is no smaller than ours, so that its coarse steps
    are to its own advantage. Where even its quality 1 is larger, or 100 smaller, that one is taken.
    A codec of fixed rate takes the one quality None. receivers: by which its files are shown. metrics: what else to
    measure. `advance` is called after every file. Raises ModelError for a receiver that the codec does not have.
    """
    look = partial(numbers, {metric.name: metric.against(picture) for metric in metrics})
    rates = []
    for quality in qualities:
        trip = round_trip(codec, picture, quality, receivers=receivers)
        ours = {
            receiver: Version(trip.data, shown, trip_point(trip, picture, quality, look, receiver=receiver))
            for receiver, shown in trip.shown.items()
        }
        advance()
        others = {}
        for baseline in baselines:
            data, found = baseline.at_least(picture, len(trip.data))
            decoded = baseline.decompress(data)
            others[baseline.name] = Version(data, decoded, file_point(data, decoded, picture, found, look))
            advance()
        rates.append(Rate(ours, others))
    used = {metric.name: metric.what for metric in metrics}
    return Comparison(codec.name, picture, tuple(baselines), tuple(rates), used)
