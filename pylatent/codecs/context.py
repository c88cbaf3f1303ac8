"""Two-step context for the latents y: what is decoded first improves the parameters of the rest.

    step 1: half the channels on the even squares of a checkerboard, the other half on the odd ones, coded with the mean
            mu and the scale sigma of h_s
    step 2: the rest, with    mu' = mu + sigma_t d_mu,    log sigma' = log sigma + d_sigma    from

        h = W_p [log sigma, mu / n],   c = neighbours((y_hat - mu) / n of step 1),   d = fuse(leaky_relu(h + c))

sigma_t is the scale of the table that sigma selects and n = max(sigma_t, 1/2). The checkerboard is He et al. 2021
(arXiv 2103.15306), the two halves on opposite squares the dual prior of Li et al. 2022 (DCVC-HEM, arXiv 2207.05894).

In exact walks everything is an integer over 2^8. A scale is reduced to one of 253 levels a quarter of a table apart
(`ScaleGrid`); the level gives its table and every function of sigma by look-up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent._bounds import lower_bound
from pylatent.codecs.exact import ACTIVATION_BITS, table_indexes
from pylatent.codecs.latents import Parameters
from pylatent.codecs.steps import Step, checkerboard
from pylatent.entropy.gaussian import default_scales

_ONE = 1 << ACTIVATION_BITS
_QUARTERS = 4  # levels of a scale to a table
_RECIPROCAL_BITS = 16
_MOST_MEAN = 16.0  # what the networks see of mu / n and of residuals / n is clamped to these
_MOST_RESIDUAL = 8.0
_SHIFT = 8.0  # tables to a unit of d_sigma, which is clamped to +-_MOST_SHIFT
_MOST_SHIFT = 4.0
_CENTRE = 18.0  # table whose log sigma the networks see as 0
_SLOPE = 10 / 1024  # of the leaky ReLU, as in exact networks


@dataclass(frozen=True)
class ScaleGrid:
    """The functions of sigma that exact walks look up, by level; all integers in float64.

    thresholds (252,): sigma's level is the number of them below sigma. Per level, (253,): features, log sigma as the
    networks see it; sigmas, that of the level's table; both over 2^8. reciprocals: 2^16 / n.
    """

    thresholds: Tensor
    features: Tensor
    sigmas: Tensor
    reciprocals: Tensor

    @classmethod
    def build(cls) -> ScaleGrid:
        scales = default_scales().double()
        count = _QUARTERS * (len(scales) - 1)
        at = torch.arange(count + 1, dtype=torch.float64) / _QUARTERS  # a level's place among the tables
        step = math.log(scales[-1] / scales[0]) / (len(scales) - 1)
        limits = scales[0] * torch.exp((at[1:] - 0.5 / _QUARTERS) * step)
        sigmas = scales[table_of(torch.arange(count + 1)).long()]
        return cls(
            thresholds=torch.floor(limits * _ONE),
            features=torch.round((at - _CENTRE) / _SHIFT * _ONE),
            sigmas=torch.round(sigmas * _ONE),
            reciprocals=torch.round(2.0**_RECIPROCAL_BITS / sigmas.clamp_min(0.5)),
        )

    def state(self) -> dict[str, Tensor]:
        """As integer tensors, for a codec's `coding_state`."""
        return {f"scales.{each.name}": getattr(self, each.name).to(torch.int32) for each in fields(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> ScaleGrid:
        """Raises KeyError if something is missing."""
        return cls(**{each.name: state[f"scales.{each.name}"].double() for each in fields(cls)})


def table_of(levels: Tensor) -> Tensor:
    """The table nearest to a level (uint8, or any integers)."""
    return (levels + _QUARTERS // 2) // _QUARTERS


class TwoStepContext(nn.Module):
    """The networks of both steps' parameters for `channels` of y; `width` and `hidden`: channels between."""

    def __init__(self, channels: int, width: int, hidden: int) -> None:
        super().__init__()
        self.hyper = nn.Sequential(nn.Conv2d(2 * channels, hidden, 1))
        self.neighbours = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(width, hidden, 3, padding=1)
        )
        last = nn.Conv2d(hidden, 2 * channels, 1)
        with torch.no_grad():  # it starts with next to no influence
            last.weight.mul_(0.02)
            assert last.bias is not None
            last.bias.zero_()
        self.fuse = nn.Sequential(nn.Conv2d(hidden, hidden, 1), nn.LeakyReLU(), last)

    @property
    def networks(self) -> dict[str, nn.Sequential]:
        return {"hyper": self.hyper, "neighbours": self.neighbours, "fuse": self.fuse}


def two_steps(channels: int) -> tuple[Step, Step]:
    """The steps of level 0, for its first `channels`."""
    half = channels // 2
    even, odd = (
        Step(0, (*checkerboard(colour, 0, half), *checkerboard(1 - colour, half, channels))) for colour in (0, 1)
    )
    return even, odd


class FloatParameters:
    """Parameters of both steps from mean and scale (B, C, h, w) of h_s; differentiable."""

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self.first = Parameters(mean, scale)
        self._mean = mean
        scales = default_scales().to(scale.device)
        self._lowest, self._last = float(scales[0]), len(scales) - 1
        self._step = math.log(float(scales[-1] / scales[0])) / self._last
        self._at = torch.log(lower_bound(scale.float(), self._lowest) / self._lowest) / self._step
        with torch.no_grad():
            tables = (self._at + 0.5).floor().clamp(0, self._last).long()
            self._sigma = scales[tables]
            self._norm = self._sigma.clamp_min(0.5)

    def inputs(self) -> Tensor:
        """log sigma and mu / n (B, 2 C, h, w), for the first network."""
        means = (self._mean / self._norm).clamp(-_MOST_MEAN, _MOST_MEAN)
        return torch.cat([(self._at - _CENTRE) / _SHIFT, means], 1)

    def residuals(self, values: Tensor) -> Tensor:
        """(y_hat - mu) / n, for the second network."""
        return ((values - self._mean) / self._norm).clamp(-_MOST_RESIDUAL, _MOST_RESIDUAL)

    def joined(self, hyper: Tensor, neighbours: Tensor) -> Tensor:
        """The input of the third network."""
        return F.leaky_relu(hyper + neighbours, _SLOPE)

    def second(self, changes: Tensor) -> Parameters:
        """Parameters of the second step from the networks' result (B, 2 C, h, w)."""
        shift, move = changes.float().chunk(2, 1)
        at = self._at + _SHIFT * shift.clamp(-_MOST_SHIFT, _MOST_SHIFT)
        scale = self._lowest * torch.exp(self._step * at.clamp(0, self._last))
        return Parameters(self._mean + self._sigma * move, scale)


class ExactParameters:
    """The same in integers over 2^8: mean (float64 or float32) and scale (float32) of the exact h_s; no gradients.

    Tables of the second step are those of the first and `num_scales` more. Operations are in place where they can be:
    fresh memory takes longer than arithmetic.
    """

    def __init__(self, mean: Tensor, scale: Tensor, grid: ScaleGrid, num_scales: int) -> None:
        self._grid, self._num_scales = grid, num_scales
        self._mean = mean.double()
        self._level = table_indexes(scale.float().contiguous(), grid.thresholds)
        self._places = self._level.to(torch.int32).flatten()
        # A power of two in the factor rounds nothing.
        self._reciprocals = self._look_up(grid.reciprocals * 2.0**-_RECIPROCAL_BITS)
        self.first = Parameters(self._mean, indexes=table_of(self._level))

    def inputs(self) -> Tensor:
        batch, channels, height, width = self._mean.shape
        inputs = self._mean.new_empty(batch, 2 * channels, height, width)
        inputs[:, :channels] = self._look_up(self._grid.features)
        means = inputs[:, channels:].copy_(self._mean)
        self._normalise(means).clamp_(-_MOST_MEAN * _ONE, _MOST_MEAN * _ONE)
        return inputs

    def residuals(self, values: Tensor) -> Tensor:
        return self._normalise(values - self._mean).clamp_(-_MOST_RESIDUAL * _ONE, _MOST_RESIDUAL * _ONE)

    def joined(self, hyper: Tensor, neighbours: Tensor) -> Tensor:
        summed = hyper.double().add_(neighbours)
        negative = summed.clamp_max(0).mul_(_SLOPE).add_(0.5).floor_()
        return summed.clamp_min_(0).add_(negative)

    def second(self, changes: Tensor) -> Parameters:
        shift, move = changes.double().chunk(2, 1)
        at = shift.clamp(-_MOST_SHIFT * _ONE, _MOST_SHIFT * _ONE).mul_(_SHIFT)
        at.add_(self._level, alpha=_ONE // _QUARTERS).mul_(1 / _ONE).add_(0.5).floor_()
        tables = at.clamp_(0, self._num_scales - 1).add_(self._num_scales).to(torch.uint8)
        mean = self._look_up(self._grid.sigmas).mul_(move).mul_(1 / _ONE).add_(0.5).floor_().add_(self._mean)
        return Parameters(mean, indexes=tables)

    def _normalise(self, values: Tensor) -> Tensor:
        """In place: over n, rounded."""
        return values.mul_(self._reciprocals).add_(0.5).floor_()

    def _look_up(self, function: Tensor) -> Tensor:
        """A new tensor of a function of sigma."""
        return function.to(self._places.device).index_select(0, self._places).view(self._level.shape)
