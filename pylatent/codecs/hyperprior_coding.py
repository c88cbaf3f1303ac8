"""The integers that steer the coder of a hyperprior: tables, medians, scale thresholds, exact h_s."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pylatent.codecs.exact import ACTIVATION_BITS, ExactNetwork, exact_layers, to_grid
from pylatent.coding.tables import CdfTables
from pylatent.entropy.factorized import FactorizedPrior
from pylatent.entropy.gaussian import default_scales
from pylatent.errors import ModelError

_MOST_CHANNELS = 256  # table indexes are bytes


@dataclass(frozen=True)
class HyperpriorCoding:
    """medians (N,) and thresholds (63,): integers over 2^8 in float64; network: h_s in integers.

    The table of a scale is the number of thresholds below it, as in CompressAI's `build_indexes`.
    """

    tables_y: CdfTables
    tables_z: CdfTables
    medians: Tensor
    thresholds: Tensor
    network: ExactNetwork

    @classmethod
    def build(
        cls, h_s: nn.Sequential, prior: FactorizedPrior, tables: tuple[CdfTables, CdfTables] | None
    ) -> HyperpriorCoding:
        """From float weights; `tables` (y's, z's) are built unless given."""
        if prior.channels > _MOST_CHANNELS:
            raise ModelError(f"z may have at most {_MOST_CHANNELS} channels, got {prior.channels}")
        scales = default_scales()
        tables_y, tables_z = tables or (CdfTables.gaussian(scales), prior.tables())
        if (tables_y.num_tables, tables_z.num_tables) != (len(scales), prior.channels):
            raise ModelError(
                f"`tables` must be of {len(scales)} scales and {prior.channels} channels, "
                f"got {tables_y.num_tables} and {tables_z.num_tables}"
            )
        # scale * 2^8 is an integer, so it exceeds the threshold if and only if it exceeds the threshold rounded down.
        thresholds = torch.floor(scales[:-1].double() * 2.0**ACTIVATION_BITS)
        return cls(tables_y, tables_z, to_grid(prior.medians).cpu(), thresholds, ExactNetwork(exact_layers(h_s)))

    def state(self) -> dict[str, Tensor]:
        """As integer tensors."""
        state = {"medians": self.medians.to(torch.int32), "thresholds": self.thresholds.to(torch.int32)}
        for name, tables in (("y", self.tables_y), ("z", self.tables_z)):
            state[f"tables.{name}.cdf"] = torch.tensor(tables.flat(), dtype=torch.int32)
            state[f"tables.{name}.length"] = torch.tensor(tables.length, dtype=torch.int32)
            state[f"tables.{name}.offset"] = torch.tensor(tables.offset, dtype=torch.int32)
        return state | self.network.state("h_s")

    @classmethod
    def from_state(cls, h_s: nn.Sequential, state: dict[str, Tensor]) -> HyperpriorCoding:
        """From `state`'s tensors; h_s gives the geometry."""

        def tables(name: str) -> CdfTables:
            keys = (f"tables.{name}.cdf", f"tables.{name}.length", f"tables.{name}.offset")
            return CdfTables.from_flat(*(state[key].numpy() for key in keys))

        network = ExactNetwork(exact_layers(h_s)).with_state(state, "h_s")
        return cls(tables("y"), tables("z"), state["medians"].double(), state["thresholds"].double(), network)
