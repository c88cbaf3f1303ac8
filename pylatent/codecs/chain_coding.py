"""The integers that steer the coder of a chain of levels: tables, medians, scale thresholds, every exact h_s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pylatent.codecs.exact import ACTIVATION_BITS, ExactNetwork, exact_layers, to_grid
from pylatent.coding.tables import CdfTables
from pylatent.entropy.factorized import FactorizedPrior
from pylatent.entropy.gaussian import default_scales
from pylatent.entropy.logistic import LogisticPrior
from pylatent.errors import ModelError

_MOST_TABLES = 256  # table indexes are bytes


@dataclass(frozen=True)
class ChainCoding:
    """tables_y of all Gaussian levels, tables_z of the deepest; medians of the deepest (C,) and thresholds (63,):
    integers over 2^8 in float64; networks: h_s of each Gaussian level in integers, the shallowest first, by its name.

    The table of a scale is the number of thresholds below it, as in CompressAI's `build_indexes`.
    """

    tables_y: CdfTables
    tables_z: CdfTables
    medians: Tensor
    thresholds: Tensor
    networks: dict[str, ExactNetwork]

    @classmethod
    def build(
        cls,
        h_s: Mapping[str, nn.Sequential],
        prior: FactorizedPrior | LogisticPrior,
        tables: tuple[CdfTables, CdfTables] | None,
    ) -> ChainCoding:
        """From float weights; `tables` (y's, z's) are built unless given."""
        if prior.num_tables > _MOST_TABLES:
            raise ModelError(f"z may have at most {_MOST_TABLES} channels, got {prior.channels}")
        scales = default_scales()
        tables_y, tables_z = tables or (CdfTables.gaussian(scales), prior.tables())
        if (tables_y.num_tables, tables_z.num_tables) != (len(scales), prior.num_tables):
            raise ModelError(
                f"`tables` must be of {len(scales)} scales and {prior.num_tables} channels, "
                f"got {tables_y.num_tables} and {tables_z.num_tables}"
            )
        # scale * 2^8 is an integer, so it exceeds the threshold if and only if it exceeds the threshold rounded down.
        thresholds = torch.floor(scales[:-1].double() * 2.0**ACTIVATION_BITS)
        networks = {name: ExactNetwork(exact_layers(network)) for name, network in h_s.items()}
        return cls(tables_y, tables_z, to_grid(prior.medians).cpu(), thresholds, networks)

    def state(self) -> dict[str, Tensor]:
        """As integer tensors."""
        state = {"medians": self.medians.to(torch.int32), "thresholds": self.thresholds.to(torch.int32)}
        for name, tables in (("y", self.tables_y), ("z", self.tables_z)):
            state[f"tables.{name}.cdf"] = torch.tensor(tables.flat(), dtype=torch.int32)
            state[f"tables.{name}.length"] = torch.tensor(tables.length, dtype=torch.int32)
            state[f"tables.{name}.offset"] = torch.tensor(tables.offset, dtype=torch.int32)
        for name, network in self.networks.items():
            state |= network.state(name)
        return state

    @classmethod
    def from_state(cls, h_s: Mapping[str, nn.Sequential], state: dict[str, Tensor]) -> ChainCoding:
        """From `state`'s tensors; h_s gives the geometry."""

        def tables(name: str) -> CdfTables:
            keys = (f"tables.{name}.cdf", f"tables.{name}.length", f"tables.{name}.offset")
            return CdfTables.from_flat(*(state[key].numpy() for key in keys))

        networks = {name: ExactNetwork(exact_layers(network)).with_state(state, name) for name, network in h_s.items()}
        return cls(tables("y"), tables("z"), state["medians"].double(), state["thresholds"].double(), networks)
