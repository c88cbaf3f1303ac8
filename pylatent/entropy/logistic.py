"""Logistic prior: a fixed, zero-mean density, the same for every channel, with nothing to train.

The deepest prior of "Generalized Nested Latent Variable Models" (arXiv 2406.06165) is the standard logistic; scale s
and bin width delta are options here, of which only delta / s matters to the rate:

    P(z)  = S((z + delta/2) / s) - S((z - delta/2) / s),   S the sigmoid
    P(0)  = tanh(delta / (4 s))                            the cheapest symbol: 2.03 bits at s = delta = 1
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.coding.tables import CdfTables

TAIL_MASS = 1e-9
NARROWEST, WIDEST = 0.05, 16.0  # bounds of s / delta, between which 16-bit tables follow the density


def logistic_bits(values: Tensor, scale: float = 1.0, bin_width: float = 1.0) -> Tensor:
    """Bits of each element of `values` (any shape) under a logistic of scale s, integrated over bins of width delta.

    Differentiable; float64 for float64, else float32. Exact in the tails, where bits grow by |z| / (s ln 2) and no
    bound is needed: computed as a sum of logarithms.
    """
    with torch.autocast(values.device.type, enabled=False):
        wide = values if values.dtype == torch.float64 else values.float()
        distance, half = torch.abs(wide) / scale, bin_width / scale / 2
        lower, upper = -distance - half, -distance + half
        # S(u) - S(l) = e^u (1 - e^(l - u)) / ((1 + e^u) (1 + e^l)), with both on the side where e^u stays small
        nats = F.softplus(upper) + F.softplus(lower) - upper - math.log(-math.expm1(-2 * half))
        return nats / math.log(2)


class LogisticPrior(nn.Module):
    """The density of `channels` channels, for residuals in bins (multiples of delta): what a codec rounds to integers.

    Raises ValueError unless s / delta lies within 0.05 and 16.
    """

    def __init__(self, channels: int, *, scale: float = 1.0, bin_width: float = 1.0) -> None:
        super().__init__()
        if not (bin_width > 0 and NARROWEST <= scale / bin_width <= WIDEST):
            raise ValueError(
                f"`scale` / `bin_width` must be from {NARROWEST} to {WIDEST:g}, got {scale} / {bin_width}: 16-bit "
                "tables cannot follow other densities"
            )
        self.channels, self.scale, self.bin_width = channels, scale, bin_width

    @property
    def medians(self) -> Tensor:
        """(C,) zeros."""
        return torch.zeros(self.channels, dtype=torch.float32)

    @property
    def num_tables(self) -> int:
        """One table for all channels."""
        return 1

    @property
    def table_of_channel(self) -> Tensor:
        """(C,) zeros, uint8: number of the table that codes each channel."""
        return torch.zeros(self.channels, dtype=torch.uint8)

    def bits(self, residual: Tensor) -> Tensor:
        """Bits of each element of `residual`, counted in bins."""
        return logistic_bits(residual, self.scale / self.bin_width)

    def tables(self) -> CdfTables:
        """The one integer table, computed in float64."""
        ratio = self.scale / self.bin_width
        center = math.ceil(ratio * math.log(2 / TAIL_MASS))
        symbols = torch.arange(-center, center + 1, dtype=torch.float64)
        pmf = torch.exp2(-logistic_bits(symbols, ratio))
        tail = 2 / (1 + math.exp((center + 0.5) / ratio))
        return CdfTables.from_pmf([pmf], [-center], tail=[tail])
