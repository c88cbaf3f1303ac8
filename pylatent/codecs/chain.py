"""A Markov chain of levels z_L → … → z_1 = y → x, each coded with what its only parent predicts.

    x ─ g_a ─ ×gain ─► y ─────── round(y - mu) + mu ─► y_hat ─ ×inverse_gain ─ g_s ─► x_hat
                       └─ h_a ─► z_2 ── h_s ─► mu, sigma of y;   z_2 likewise from z_3, … the last from a prior

Two levels make a hyperprior (codecs/hyperprior.py), any number the nested codec (codecs/nested.py). A gain vector per
quality on y (Cui et al. 2021, arXiv 2003.02012), undone before the synthesis, makes either variable-rate.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pylatent.codecs.analysis_forms import PIXELS, AnalysisForms, Calibration
from pylatent.codecs.base import Codec, pad
from pylatent.codecs.integer import IntegerSynthesis
from pylatent.codecs.integer_analysis import IntegerAnalysis, why_not_native
from pylatent.codecs.integer_convert import convert, load_float_synthesis
from pylatent.codecs.integer_ranges import calibrate
from pylatent.codecs.latents import Parameters
from pylatent.codecs.steps import Shape, Step
from pylatent.codecs.tiling import growth, run_network
from pylatent.codecs.walk import Done

_LEFT_OUT = 1e-3  # gains below it make every value of a channel round to 0
_HYPER_TILE = 256
_HYPER_LATENT_TILE = 128  # in positions of the level that is predicted


@dataclass(frozen=True)
class Link:
    """From a level to its parent and back. name: of h_s in the codec."""

    h_a: nn.Sequential
    h_s: nn.Sequential
    name: str

    @property
    def analysis_name(self) -> str:
        return self.name.replace("h_s", "h_a")


class Chain(Codec):
    """Base of codecs whose levels form a chain: modules g_a and g_s (a factor of 16), links, and a deepest prior.

    gain, inverse_gain: (Q, M), for qualities 1 to Q and fractions between; None for a fixed rate. The deepest level
    counts in bins of the prior: its h_a's result is divided by their width, its h_s is given the product.
    """

    alignment = 16
    pixel_tile = 1024  # side of the transforms' tiles in pixels, a multiple of `alignment`
    g_a: nn.Sequential
    g_s: nn.Sequential
    gain: nn.Parameter | None
    inverse_gain: nn.Parameter | None
    _forms: AnalysisForms | None = None  # of g_a and the links' h_a, in integers

    # What differs between chains.

    @property
    @abstractmethod
    def links(self) -> tuple[Link, ...]:
        """From each level but the deepest to its parent, the shallowest first."""

    @property
    @abstractmethod
    def channels_of(self) -> tuple[int, ...]:
        """Channels of each level, the shallowest first."""

    @abstractmethod
    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Output of an h_s -> (scale, mean)."""

    def _hyper_input(self, values: Tensor) -> Tensor:
        """What h_a sees of a level."""
        return values

    # The chain.

    @property
    def qualities(self) -> tuple[float, float] | None:
        return None if self.gain is None else (1.0, float(self.gain.shape[0]))

    @property
    def default_quality(self) -> float | None:
        return None if self.gain is None else min(4.0, float(self.gain.shape[0]))

    def level_shapes(self, size: tuple[int, int]) -> tuple[Shape, ...]:
        height, width = -(-size[0] // self.alignment), -(-size[1] // self.alignment)
        shapes = [(self.channels_of[0], height, width)]
        for link, channels in zip(self.links, self.channels_of[1:], strict=True):
            stride = growth(link.h_s)
            height, width = -(-height // stride), -(-width // stride)
            shapes.append((channels, height, width))
        return tuple(shapes)

    def analysis(self, x: Tensor, quality: Tensor | None) -> tuple[Tensor, ...]:
        y = self.without_gain(x)
        return self.levels_above(self.gained(y, quality))

    def without_gain(self, x: Tensor) -> Tensor:
        """Aligned pixels (B, 3, H, W) -> y (B, M, h, w), before any gain."""
        return run_network(self.g_a, x, tile=self.pixel_tile, function=self._g_a)

    def gained(self, y: Tensor, quality: Tensor | None) -> Tensor:
        return y if quality is None else y * self._gain(self.gain, quality)

    def ungained(self, y: Tensor, quality: Tensor | None) -> Tensor:
        if quality is None:
            return y
        gain = self._gain(self.gain, quality)
        return y * torch.where(gain > _LEFT_OUT, 1 / gain, 0)

    def for_synthesis(self, y: Tensor, quality: Tensor | None) -> Tensor:
        return y if quality is None else y * self._gain(self.inverse_gain, quality)

    def levels_above(self, y: Tensor, *, integers: bool = False) -> tuple[Tensor, ...]:
        """y (B, M, h, w), after any gain -> all unquantised levels, y first. integers: by integer forms, on the CPU."""
        levels = [y]
        for link in self.links:
            values = self._hyper_input(levels[-1])
            form = self._forms.of(link.analysis_name, link.h_a) if integers and self._forms is not None else None
            levels.append(run_network(link.h_a, values, tile=_HYPER_TILE) if form is None else form(values))
        if self.prior.bin_width != 1:
            levels[-1] = levels[-1] / self.prior.bin_width
        return tuple(levels)

    def synthesis(self, levels: Sequence[Tensor], quality: Tensor | None) -> Tensor:
        y_hat = self.for_synthesis(levels[0], quality)
        return run_network(self.g_s, y_hat, tile=self.pixel_tile // self.alignment, function=self._g_s)

    def _g_a(self, x: Tensor) -> Tensor:
        features = self.g_a[:-1](x)
        with torch.autocast(x.device.type, enabled=False):  # latents need more digits than bf16 has
            return self.g_a[-1](features.float())

    def _g_s(self, y_hat: Tensor) -> Tensor:
        with torch.autocast(y_hat.device.type, enabled=False):
            features = self.g_s[0](y_hat.float())
        return self.g_s[1:](features)

    @staticmethod
    def _gain(gains: Tensor | None, quality: Tensor) -> Tensor:
        """(B,) qualities -> (B, M, 1, 1): gains interpolated geometrically between integer qualities."""
        assert gains is not None
        logs = torch.log(gains.clamp_min(1e-6))
        below = (quality.floor() - 1).long().clamp(0, len(gains) - 1)
        above = (below + 1).clamp_max(len(gains) - 1)
        weight = (quality - 1 - below).unsqueeze(1)
        return torch.exp(logs[below] * (1 - weight) + logs[above] * weight)[:, :, None, None]

    def parameters_of(self, step: Step, done: Done) -> Parameters:
        if step.level == self.num_levels - 1:
            return self.prior_parameters(done)
        scales, mean = self._split(self._predicted(step.level, done))
        return self.gaussian(mean, scales, done)

    def _predicted(self, level: int, done: Done) -> Tensor:
        """What h_s says of a level, of the level's size; float32 integers over 2^8 in an exact walk."""
        return self._run(self.links[level].name, self._parent(level, done), done, done.shapes[level][1:])

    def _run(self, name: str, values: Tensor, done: Done, size: tuple[int, int]) -> Tensor:
        """The result of one of `exact_networks`, cropped to `size`; in an exact walk in tiles, as float32 integers."""
        network = self.network(name, done)
        if not done.exact:
            return network(values)[..., : size[0], : size[1]]
        layers = self.exact_networks[name]
        tile = _HYPER_LATENT_TILE // growth(layers)
        needed = size if max(values.shape[-2:]) <= tile else None  # of a picture of one tile
        exact = partial(network, size=needed, dtype=torch.float32)
        return run_network(layers, values, tile=tile, function=exact)[..., : size[0], : size[1]]

    def _parent(self, level: int, done: Done) -> Tensor:
        """What h_s of a level is given: its parent's values (or integers), in units of h_a's result."""
        value, width = done.level(level + 1), self.prior.bin_width
        return value * width if level + 1 == self.num_levels - 1 and width != 1 else value

    @torch.no_grad()
    def calibrate(self, pictures: Iterable[Tensor]) -> None:
        """Make the integer synthesis, which then defines the pixels (codecs/integer.py), after `update`; and where
        networks of the analysis have an integer form, that.

        pictures: pixels (B, 3, H, W) in [0, 1], some of all kinds, which tell the ranges of activations; each is coded
        at another quality in turn. Raises ModelError for a synthesis that has no integer form.
        """
        tables = self._ready()
        calibration = Calibration({PIXELS: self.g_a} | {link.analysis_name: link.h_a for link in self.links})

        def inputs() -> Iterator[Tensor]:
            for number, x in enumerate(pictures):
                quality = None if self.gain is None else 1.0 + number % len(self.gain)
                latents = self.analyze(x, quality)
                above = zip(self.links, latents.levels, strict=False)
                given = {link.analysis_name: self._hyper_input(level) for link, level in above}
                calibration.see({PIXELS: pad(x, self.alignment)} | given)
                y_hat = self.as_coded(latents).y
                yield y_hat if quality is None else y_hat * self._gain(self.inverse_gain, x.new_tensor([quality]))

        ranges = calibrate(self.g_s, inputs())
        self._set_coding(replace(tables, synthesis=convert(self.g_s, self.inverse_gain, ranges), receivers={}))
        self._forms = calibration.forms()

    # The integer analysis.

    def integer_analysis(self, x: Tensor, quality: Tensor | None) -> tuple[Tensor, ...] | None:
        form = self._form_of(x)
        return None if form is None else self.levels_above(form(x, self._gains_of(x, quality)), integers=True)

    def integer_analyses(self, x: Tensor) -> Callable[[Tensor | None], tuple[Tensor, ...]] | None:
        form = self._form_of(x)
        if form is None:
            return None
        y = form.results(x)
        return lambda quality: self.levels_above(form.scaled(y, self._gains_of(x, quality)), integers=True)

    def _form_of(self, x: Tensor) -> IntegerAnalysis | None:
        """The integer form of g_a, None if there is none for these pixels."""
        if self._forms is None or why_not_native(x) is not None:
            return None
        return self._forms.of(PIXELS, self.g_a, alignment=self.alignment)

    def _gains_of(self, x: Tensor, quality: Tensor | None) -> Tensor | None:
        return None if quality is None else self._gain(self.gain, quality).view(len(x), -1)

    def analysis_state(self) -> dict[str, Tensor]:
        return {} if self._forms is None else self._forms.state()

    def load_analysis_state(self, state: Mapping[str, Tensor]) -> None:
        self._forms = AnalysisForms.from_state(state)

    def _load_from_state_dict(self, *args: Any) -> None:
        self._forms = None  # they belong to the weights that are replaced
        super()._load_from_state_dict(*args)

    def _load_float_synthesis(self, synthesis: IntegerSynthesis) -> None:
        load_float_synthesis(self.g_s, self.inverse_gain, synthesis)

    @property
    def exact_networks(self) -> dict[str, nn.Sequential]:
        return {link.name: link.h_s for link in self.links}


def gain_parameter(gains: int, M: int) -> nn.Parameter | None:
    """Gains of 1 for `gains` qualities, (gains, M); None for 0 of them."""
    return nn.Parameter(torch.ones(gains, M)) if gains else None
