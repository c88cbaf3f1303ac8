"""The integer forms of a codec's analysis networks: their scales, which travel with the weights, and what is made of
both when it is first needed."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from pylatent.codecs.analysis_convert import (
    Scales,
    analysis_scales,
    has_integer_form,
    integer_analysis,
    scales_from_state,
    scales_state,
    see,
)
from pylatent.codecs.integer_analysis import IntegerAnalysis
from pylatent.codecs.integer_ranges import Range
from pylatent.codecs.witness import Stamp, named_weights, stamp

PIXELS = "g_a"  # the network that takes them


class AnalysisForms:
    """scales: by the networks' names, `PIXELS` among them."""

    def __init__(self, scales: Mapping[str, Scales]) -> None:
        self._scales = dict(scales)
        self._made: dict[str, tuple[Stamp, IntegerAnalysis]] = {}  # for these weights

    def of(self, name: str, network: nn.Sequential, *, alignment: int = 1) -> IntegerAnalysis | None:
        """The form of a network with the weights that it has now, None if it has no scales. Raises ModelError."""
        if name not in self._scales:
            return None
        weights = stamp(weight for _, weight in named_weights(network))
        if name not in self._made or self._made[name][0] != weights:
            self._made[name] = weights, integer_analysis(network, name, self._scales[name], alignment=alignment)
        return self._made[name][1]

    def state(self) -> dict[str, Tensor]:
        """As tensors, for `from_state`."""
        return {
            _prefix(name) + key: value
            for name, scales in self._scales.items()
            for key, value in scales_state(scales).items()
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> AnalysisForms | None:
        """Of `state`'s tensors, None if there are none. Raises KeyError if they are not complete."""
        names = {PIXELS} | {key.rsplit(".", 2)[0] for key in state if key.count(".") > 1}
        found = {name: scales_from_state(state, _prefix(name)) for name in sorted(names)}
        return cls({name: scales for name, scales in found.items() if scales is not None}) if state else None


class Calibration:
    """Collects what the analysis networks are given, of those that can have an integer form."""

    def __init__(self, networks: Mapping[str, nn.Sequential]) -> None:
        able = {name: network for name, network in networks.items() if has_integer_form(network)}
        self._networks = able if PIXELS in able else {}
        self._ranges: dict[str, list[Range]] = {name: [] for name in self._networks}

    def see(self, inputs: Mapping[str, Tensor]) -> None:
        """inputs: (B, C, h, w) of each network, of some pictures."""
        for name, network in self._networks.items():
            see(network, inputs[name], self._ranges[name])

    def forms(self) -> AnalysisForms | None:
        """None if there can be none. Raises ModelError, with the layer's name, if one would lose too much."""
        scales = {
            name: analysis_scales(network, name, self._ranges[name], pixels=name == PIXELS)
            for name, network in self._networks.items()
        }
        return AnalysisForms(scales) if scales else None


def _prefix(name: str) -> str:
    """Of the names of tensors; the first network's have none."""
    return "" if name == PIXELS else f"{name}."
