"""What the author of a codec writes, what they may use, and the coding tables that follow from it.

A codec has levels (level 0, y, is the shallowest) that are coded in steps. Its author writes the analysis, the steps,
their parameter networks, and the synthesis; `Codec` (base.py) makes the verbs of these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pylatent._receivers import SIDES, Side
from pylatent.codecs.exact import load_float_weights, table_indexes
from pylatent.codecs.integer import IntegerSynthesis
from pylatent.codecs.latents import Parameters
from pylatent.codecs.receivers import SideReceiver, is_of_receivers, receivers_from_state
from pylatent.codecs.steps import Shape, Step, whole_levels
from pylatent.codecs.tables import CodingTables
from pylatent.codecs.walk import Done, Here
from pylatent.codecs.witness import Witness, named_weights
from pylatent.coding.tables import CdfTables
from pylatent.entropy.factorized import FactorizedPrior
from pylatent.entropy.gaussian import default_scales, gaussian_bits
from pylatent.entropy.logistic import LogisticPrior
from pylatent.errors import ModelError

CODING = "coding."  # in the names of a state dict: what steers the coder
_ANALYSIS = "analysis."  # after it: what the integer analysis needs


class CodecDefinition(nn.Module, ABC):
    """A codec without its verbs: the deepest level under a prior of its own, the others Gaussian.

    num_levels. alignment: the multiple of pixels that the analysis needs. exact: whether the parameter networks have
    an exact form; files of a codec without one say so, and may be refused on another machine. decoder_names: beginnings
    of the state dict's names that the synthesis uses. card: what its model file says of data, training and licence.
    lambdas: the weights of 255² MSE that it was trained with, one per integer quality, where known.

    Once ready for coding, the state dict holds what steers the coder, too, and whoever loads it is ready. Weights that
    change after `update` need another: until then coding raises ModelError.
    """

    num_levels: int
    alignment: int
    exact = True
    decoder_names: tuple[str, ...] = ("g_s.", "inverse_gain")
    name: str = "unnamed"
    card: Mapping[str, Any] | None = None
    lambdas: tuple[float, ...] | None = None
    _coding: CodingTables | None = None
    _origin: Witness | None = None
    _arriving: Mapping[str, Tensor] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.register_load_state_dict_post_hook(_take_arriving)

    # What the author of a codec writes.

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, as a model file stores them (JSON).

        Of a variable-rate codec, "gains" (a number) or "lambdas" (a list) tells how many integer qualities it has.
        """

    @property
    def qualities(self) -> tuple[float, float] | None:
        """Lowest and highest quality of a variable-rate codec; None for a fixed rate."""
        return None

    @property
    def default_quality(self) -> float | None:
        """The quality used when none is given; None for a fixed rate."""
        return None

    @abstractmethod
    def level_shapes(self, size: tuple[int, int]) -> tuple[Shape, ...]:
        """(channels, height, width) of each level, the shallowest first, for a picture of (height, width) pixels."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The coding order, 1 to 64 steps that cover every level; by default one a level, the deepest first."""
        return whole_levels(self.num_levels)

    @abstractmethod
    def analysis(self, x: Tensor, quality: Tensor | None) -> tuple[Tensor, ...]:
        """Aligned pixels (B, 3, H, W) and quality (B,) -> unquantised levels, the shallowest first."""

    def integer_analysis(self, x: Tensor, quality: Tensor | None) -> tuple[Tensor, ...] | None:
        """What `analysis` returns of pixels that need not be aligned, sooner and nearly; None where there is no way."""
        return None

    def integer_analyses(self, x: Tensor) -> Callable[[Tensor | None], tuple[Tensor, ...]] | None:
        """`integer_analysis` of the same pixels for any qualities, after what these share; None where there is none."""
        return None

    @abstractmethod
    def synthesis(self, levels: Sequence[Tensor], quality: Tensor | None) -> Tensor:
        """All quantised levels and quality (B,) -> pixels (B, 3, H, W), aligned and not clamped."""

    def ungained(self, y: Tensor, quality: Tensor | None) -> Tensor:
        """y (B, C, h, w) as it was before any gain of a picture's quality (B,); 0 in channels that it leaves out."""
        return y

    def gained(self, y: Tensor, quality: Tensor | None) -> Tensor:
        """y times the gain of each picture's quality (B,), as it is coded: what `ungained` undoes."""
        return y

    def for_synthesis(self, y: Tensor, quality: Tensor | None) -> Tensor:
        """Coded y with the gain of the decoder; `synthesis` takes it with None for the quality."""
        return y

    @abstractmethod
    def parameters_of(self, step: Step, done: Done) -> Parameters:
        """What a step is coded with, given what is done: in float and differentiable, or exact if `done.exact`."""

    # Where there is one: what is added to a step's values (B, C, h, w), C its channels, once they are known, such as a
    # latent residual prediction; floats, or integers over 2^8 in float64 in an exact walk; None to leave a step alone.
    correction_of: Callable[[Step, Done], Tensor | None] | None = None

    @property
    @abstractmethod
    def prior(self) -> FactorizedPrior | LogisticPrior:
        """The density of the deepest level, which must be a step of its own if it is a learned one."""

    @property
    @abstractmethod
    def exact_networks(self) -> Mapping[str, nn.Sequential]:
        """The networks that are made exact, by their names in the codec: a model file stores these as integers.

        None of a codec that is not exact.
        """

    # What the author may use.

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def network(self, name: str, done: Done) -> Callable[..., Tensor]:
        """The one of `exact_networks` that the walk needs: its exact form, or the float network itself."""
        return self._ready().networks[name] if done.exact else self.exact_networks[name]

    def prior_parameters(self, done: Done) -> Parameters:
        """Parameters of the deepest level, under its prior."""
        medians = self._ready().medians if done.exact else self.prior.medians
        tables = self.prior.table_of_channel.view(-1, 1, 1)
        return Parameters(medians.view(-1, 1, 1).to(done.device), indexes=tables, computed=False)

    def gaussian(self, mean: Tensor, scale: Tensor, done: Done) -> Parameters:
        """Parameters of a Gaussian step from what networks gave: floats, or integers over 2^8 in an exact walk."""
        if not done.exact:
            return Parameters(mean, scale)
        return Parameters(mean, indexes=table_indexes(scale.float(), self._ready().thresholds))

    # The tables of the coder, and what else steers it.

    def bits_of(self, here: Here, residual: Tensor) -> Tensor:
        """Bits of each element of a step's residual, under its standard deviations or the prior; differentiable."""
        return self.prior.bits(residual) if here.scale is None else gaussian_bits(residual, here.scale)

    def tables_of(self, level: int) -> CdfTables:
        """The integer tables that code a level. Raises ModelError before `update`."""
        return self._ready().tables["z" if level == self.num_levels - 1 else "y"]

    def scales_of(self, level: int) -> Tensor | None:
        """The standard deviation that each table of a level stands for, float32; None under a prior."""
        return None if level == self.num_levels - 1 else default_scales()

    def fit_prior(self) -> None:
        """Solve for medians and tails of a learned prior, before `update`; a fixed one needs nothing."""
        if isinstance(self.prior, FactorizedPrior):
            self.prior.fit_quantiles()

    def update(self, tables: tuple[CdfTables, CdfTables] | None = None) -> None:
        """Build tables and exact networks from the float weights; `tables` (Gaussian, prior's) are taken as given."""
        scales = self.scales_of(0)
        assert scales is not None, "level 0 is Gaussian"
        self._set_coding(CodingTables.build(self.exact_networks, self.prior, scales, tables))

    def coding_state(self) -> dict[str, Tensor]:
        """All integers that steer the coder, as tensors that a model file stores. Raises ModelError before `update`."""
        self.check_ready()
        return dict(self._ready().state)

    def load_coding_state(self, state: Mapping[str, Tensor]) -> None:
        """Take `coding_state`'s tensors instead of building them; the float networks get the values that they mean."""
        for name, network in self.exact_networks.items():
            load_float_weights(network, state, name)
        self._take_coding_state(state)
        if (synthesis := self._ready().synthesis) is not None:
            self._load_float_synthesis(synthesis)
        self._set_coding(self._ready())

    def _load_float_synthesis(self, synthesis: IntegerSynthesis) -> None:
        """Set the float synthesis to what these integers stand for, in a codec that has them (`calibrate`)."""

    def _take_coding_state(self, state: Mapping[str, Tensor]) -> None:
        """The integers alone, as they are in the state; float weights are there, or come next, then `_set_coding`."""
        self._coding = CodingTables.from_state(self.exact_networks, state)

    def _set_coding(self, coding: CodingTables) -> None:
        self._coding = coding
        self._origin = Witness(self._sources())

    def _sources(self) -> list[Tensor]:
        """The float weights that what steers the coder was made of."""
        networks = [*(self.exact_networks.values() if self.exact else ()), self.prior]
        sources: list[Tensor] = [weight for network in networks for _, weight in named_weights(network)]
        if self.defines_pixels:
            sources += [weight for name, weight in named_weights(self) if name.startswith(self.decoder_names)]
        return sources

    @property
    def is_ready(self) -> bool:
        """Whether it can code: `update` was called, and the weights have not changed since."""
        return self._coding is not None and self._origin is not None and self._origin.agrees(self._sources())

    def check_ready(self) -> None:
        """Raises ModelError unless the codec is ready for coding."""
        self._ready()
        if not self.is_ready:
            raise ModelError(
                f"the weights of model {self.name} have changed since `update`: call it again, after training, too "
                "(and `calibrate`, where there was an integer synthesis)"
            )

    def float_state(self) -> dict[str, Tensor]:
        """The state dict without what steers the coder: the weights alone."""
        unstored = {
            f"{owner}.{name}" for owner, module in self.named_modules() for name in module._non_persistent_buffers_set
        }
        weights = (*self.named_parameters(), *self.named_buffers())
        return {name: value.detach() for name, value in weights if name not in unstored}

    def synthesis_state(self) -> dict[str, Tensor]:
        """The float weights that decoding uses; with `coding_state`, what the fingerprint covers.

        Those that define pixels; of a codec that is not exact all weights, since the walk takes them, too.
        """
        if not self.exact:
            return self.float_state()
        if self._ready().synthesis is not None:
            return {}
        state = self.float_state()
        return {name: value for name, value in state.items() if name.startswith(self.decoder_names)}

    @property
    def defines_pixels(self) -> bool:
        """Whether the pixels are defined in integers (`calibrate`), the same on every machine."""
        return self._coding is not None and self._coding.synthesis is not None

    def analysis_state(self) -> dict[str, Tensor]:
        """What `integer_analysis` needs beside the weights, as tensors that a model file stores; no part of a hash."""
        return {}

    def load_analysis_state(self, state: Mapping[str, Tensor]) -> None:
        """Take `analysis_state`'s tensors, after the weights. Raises KeyError if they are not complete."""

    @property
    def receivers(self) -> Mapping[Side, SideReceiver]:
        """What the model has beside the full synthesis: "light", for previews (pylatent.train.light), "perceptual"
        (pylatent.train.perceptual), or nothing."""
        return {} if self._coding is None else self._coding.receivers

    def set_receiver(self, name: Side, receiver: SideReceiver | None) -> None:
        """Give the codec a receiver, made for its integer synthesis, or take it away. ModelError before `update`."""
        others = {key: value for key, value in self._ready().receivers.items() if key != name}
        self._coding = replace(self._ready(), receivers=others if receiver is None else {**others, name: receiver})

    def receivers_state(self) -> dict[str, Tensor]:
        """The side receivers as tensors that a model file stores; no part of `coding_state` and the fingerprint."""
        states = (self.receivers[name].state(name) for name in SIDES if name in self.receivers)
        return {key: value for state in states for key, value in state.items()}

    def load_receivers_state(self, state: Mapping[str, Tensor]) -> None:
        """Take `receivers_state`'s tensors, after `load_coding_state`. Raises KeyError, ModelError."""
        self._coding = replace(self._ready(), receivers=receivers_from_state(state, self._ready().synthesis))

    def drop_synthesis(self) -> None:
        """Leave out the integer form of the synthesis, if there is one: pixels are the float network's again."""
        if self._coding is not None:
            self._set_coding(replace(self._coding, synthesis=None, receivers={}))

    @property
    def kept_as_integers(self) -> set[str]:
        """Names of the float weights that `coding_state` tells."""
        names = {f"{name}.{key}" for name, network in self.exact_networks.items() for key in network.state_dict()}
        if self._ready().synthesis is not None:
            names |= {name for name in self.state_dict() if name.startswith(self.decoder_names)}
        return names

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.is_ready:
            analysis = {f"{_ANALYSIS}{name}": value for name, value in self.analysis_state().items()}
            state = self.coding_state() | self.receivers_state() | analysis
            destination.update({f"{prefix}{CODING}{name}": value for name, value in state.items()})

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        self._coding = None  # it belongs to the weights that are replaced
        own = f"{prefix}{CODING}"
        self._arriving = {name[len(own) :]: value for name, value in state_dict.items() if name.startswith(own)}
        weights = {name: value for name, value in state_dict.items() if not name.startswith(own)}
        super()._load_from_state_dict(weights, prefix, *args)

    def _ready(self) -> CodingTables:
        if self._coding is None:
            raise ModelError(
                f"model {self.name} is not ready for coding: call update() once after training or loading weights"
            )
        return self._coding


def _take_arriving(codec: CodecDefinition, keys: Any) -> None:
    """After `load_state_dict`: what steers the coder, if it came with the weights, which are there by now."""
    arriving, codec._arriving = codec._arriving, None
    if arriving:
        state = {name: value.cpu() for name, value in arriving.items()}
        codec._take_coding_state(state)
        codec._set_coding(codec._ready())
        codec.load_receivers_state({name: value for name, value in state.items() if is_of_receivers(name)})
        codec.load_analysis_state(
            {name.removeprefix(_ANALYSIS): value for name, value in state.items() if name.startswith(_ANALYSIS)}
        )
