"""Factorized prior: a learned density per channel (Ballé et al. 2018, arXiv 1802.01436, appendix 6.1).

Parameter names and shapes are those of CompressAI's `EntropyBottleneck` with filters (3, 3, 3, 3).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent._bounds import lower_bound
from pylatent.coding.tables import CdfTables

LIKELIHOOD_BOUND = 1e-9
TAIL_MASS = 1e-9
_FILTERS = (1, 3, 3, 3, 3, 1)
_INIT_SCALE = 10.0


class FactorizedPrior(nn.Module):
    """Density of each of `channels` channels, for residuals around the channel's median.

    `quantiles` (C, 1, 3) holds the low tail, the median and the high tail of each channel. They are not trained:
    `fit_quantiles` solves for them.
    """

    bin_width = 1.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.factors = nn.ParameterList()
        scale = _INIT_SCALE ** (1 / (len(_FILTERS) - 1))
        for fan_in, fan_out in pairwise(_FILTERS):
            value = math.log(math.expm1(1 / scale / fan_out))
            self.matrices.append(nn.Parameter(torch.full((channels, fan_out, fan_in), value)))
            self.biases.append(nn.Parameter(torch.empty(channels, fan_out, 1).uniform_(-0.5, 0.5)))
            if fan_out > 1:
                self.factors.append(nn.Parameter(torch.zeros(channels, fan_out, 1)))
        self.quantiles = nn.Parameter(
            torch.tensor([-_INIT_SCALE, 0.0, _INIT_SCALE]).repeat(channels, 1, 1), requires_grad=False
        )

    def logits(self, values: Tensor, first: int = 0) -> Tensor:
        """Logits of the cumulative distribution at `values` (c, 1, n) -> (c, 1, n), in the dtype of `values`.

        They are of the channels from `first` on.
        """
        logits, some = values, slice(first, first + len(values))
        for i, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            logits = F.softplus(matrix[some].to(values.dtype)) @ logits + bias[some].to(values.dtype)
            if i < len(self.factors):
                logits = logits + torch.tanh(self.factors[i][some].to(values.dtype)) * torch.tanh(logits)
        return logits

    @property
    def medians(self) -> Tensor:
        """(C,) medians, detached."""
        return self.quantiles[:, 0, 1].detach()

    @property
    def num_tables(self) -> int:
        """One table a channel."""
        return self.channels

    @property
    def table_of_channel(self) -> Tensor:
        """(C,) uint8: number of the table that codes each channel."""
        return torch.arange(self.channels, dtype=torch.uint8)

    def bits(self, residual: Tensor, first: int = 0) -> Tensor:
        """Bits of each element of `residual` (B, c, H, W): the latent less its channel's median; float32.

        Its channels are the prior's from `first` on.
        """
        with torch.autocast(residual.device.type, enabled=False):
            batch, channels, height, width = residual.shape
            values = residual.float() + self.medians[first : first + channels].view(-1, 1, 1)
            flat = values.transpose(0, 1).reshape(channels, 1, -1)
            lower, upper = self.logits(flat - 0.5, first), self.logits(flat + 0.5, first)
            # Both logits on the negative side, where the difference of sigmoids keeps its digits.
            sign = -torch.sign(lower + upper).detach()
            likelihood = torch.abs(torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower))
            bits = -torch.log2(lower_bound(likelihood, LIKELIHOOD_BOUND))
            return bits.reshape(channels, batch, height, width).transpose(0, 1)

    @torch.no_grad()
    def fit_quantiles(self, tail_mass: float = TAIL_MASS) -> None:
        """Solve for the tails and the median of every channel by bisection in float64."""
        tail = math.log(2 / tail_mass - 1)
        target = torch.tensor([-tail, 0.0, tail], dtype=torch.float64, device=self.quantiles.device)
        low = torch.full((self.channels, 1, 3), -1.0, dtype=torch.float64, device=self.quantiles.device)
        high = -low
        for _ in range(30):
            low = torch.where(self.logits(low) > target, low * 2, low)
            high = torch.where(self.logits(high) < target, high * 2, high)
        for _ in range(60):
            middle = (low + high) / 2
            above = self.logits(middle) > target
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        self.quantiles.copy_((low + high) / 2)

    @torch.no_grad()
    def tables(self) -> CdfTables:
        """Integer tables, one per channel, built as CompressAI's `EntropyBottleneck.update` does."""
        quantiles = self.quantiles.detach().float().cpu()
        low, median, high = quantiles[:, 0, 0], quantiles[:, 0, 1], quantiles[:, 0, 2]
        minima = torch.ceil(median - low).int().clamp_min(0)
        maxima = torch.ceil(high - median).int().clamp_min(0)
        lengths = minima + maxima + 1
        # Shorter rows are continued to the longest length: the tail mass is taken at the padded row's end.
        samples = torch.arange(int(lengths.max())) + (median - minima).view(-1, 1, 1)
        samples = samples.to(self.quantiles.device)
        lower, upper = self.logits(samples - 0.5).cpu(), self.logits(samples + 0.5).cpu()
        pmf = (torch.sigmoid(upper) - torch.sigmoid(lower))[:, 0]
        tail = (torch.sigmoid(lower[:, 0, :1]) + torch.sigmoid(-upper[:, 0, -1:]))[:, 0]
        rows = [pmf[c, : int(lengths[c])] for c in range(self.channels)]
        return CdfTables.from_pmf(rows, -minima, tail=tail)
