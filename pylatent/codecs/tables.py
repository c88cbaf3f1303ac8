"""The integers of a codec: CDF tables, medians, scale thresholds and exact networks, which steer the coder, and where
there is one, the integer form of its synthesis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from pylatent._receivers import Side
from pylatent.codecs.exact import ACTIVATION_BITS, ExactNetwork, exact_layers, to_grid
from pylatent.codecs.integer import IntegerSynthesis
from pylatent.codecs.receivers import SideReceiver
from pylatent.coding.tables import CdfTables
from pylatent.entropy.factorized import FactorizedPrior
from pylatent.entropy.gaussian import default_scales
from pylatent.entropy.logistic import LogisticPrior
from pylatent.errors import ModelError

_MOST_TABLES = 256  # table indexes are bytes
_PARTS = ("cdf", "length", "offset")
SYNTHESIS = "g_s"  # in the names of tensors


@dataclass(frozen=True)
class CodingTables:
    """tables: "y", of the Gaussian levels, and "z", of the deepest, which has a prior of its own.

    medians (C,) of the prior and thresholds (63,) of the Gaussian scales: integers over 2^8 in float64; the table of a
    scale is the number of thresholds below it, as in CompressAI's `build_indexes`. networks: the exact form of each
    network that the codec names. synthesis: what defines the pixels, if it is made (`Codec.calibrate`). receivers:
    others that there are; they steer nothing and are no part of `state`.
    """

    tables: dict[str, CdfTables]
    medians: Tensor
    thresholds: Tensor
    networks: dict[str, ExactNetwork]
    synthesis: IntegerSynthesis | None = None
    receivers: Mapping[Side, SideReceiver] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        networks: Mapping[str, nn.Sequential],
        prior: FactorizedPrior | LogisticPrior,
        scales: Tensor,
        tables: tuple[CdfTables, CdfTables] | None,
    ) -> CodingTables:
        """From float weights; `tables` (of Gaussians of `scales`, the prior's) are built unless given. ModelError."""
        if prior.num_tables > _MOST_TABLES:
            raise ModelError(f"z may have at most {_MOST_TABLES} channels, got {prior.channels}")
        tables_y, tables_z = tables or (CdfTables.gaussian(scales), prior.tables())
        if (tables_y.num_tables, tables_z.num_tables) != (len(scales), prior.num_tables):
            raise ModelError(
                f"`tables` must be of {len(scales)} scales and {prior.num_tables} channels, "
                f"got {tables_y.num_tables} and {tables_z.num_tables}"
            )
        # scale * 2^8 is an integer, so it exceeds the threshold if and only if it exceeds the threshold rounded down.
        thresholds = torch.floor(default_scales()[:-1].double() * 2.0**ACTIVATION_BITS)
        exact = {name: ExactNetwork(exact_layers(network)) for name, network in networks.items()}
        return cls({"y": tables_y, "z": tables_z}, to_grid(prior.medians).cpu(), thresholds, exact)

    @cached_property
    def state(self) -> dict[str, Tensor]:
        """As integer tensors."""
        state = {"medians": self.medians.to(torch.int32), "thresholds": self.thresholds.to(torch.int32)}
        for name, tables in self.tables.items():
            arrays = (tables.flat(), tables.length, tables.offset)
            for part, array in zip(_PARTS, arrays, strict=True):
                state[f"tables.{name}.{part}"] = torch.tensor(array, dtype=torch.int32)
        for name, network in self.networks.items():
            state |= network.state(name)
        if self.synthesis is not None:
            state |= self.synthesis.state(SYNTHESIS)
        return state

    @classmethod
    def from_state(cls, networks: Mapping[str, nn.Sequential], state: Mapping[str, Tensor]) -> CodingTables:
        """From `state`'s tensors; networks give the geometry. Raises KeyError, ModelError, ValueError."""
        tables = {
            name: CdfTables.from_flat(*(state[f"tables.{name}.{part}"].numpy() for part in _PARTS)) for name in "yz"
        }
        exact = {name: ExactNetwork(exact_layers(float_)).with_state(state, name) for name, float_ in networks.items()}
        synthesis = IntegerSynthesis.from_state(state, SYNTHESIS) if f"{SYNTHESIS}.gains" in state else None
        return cls(tables, state["medians"].double(), state["thresholds"].double(), exact, synthesis)
