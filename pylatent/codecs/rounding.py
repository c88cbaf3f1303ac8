"""What "round" means in the walk over the levels: the only difference between training, coding and refinement."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Rounding(Protocol):
    """Maps a residual (latent less mean) of a level to (the residual whose rate is paid, the one passed on)."""

    def __call__(self, residual: Tensor, level: int) -> tuple[Tensor, Tensor]: ...


def nearest(residual: Tensor, level: int) -> tuple[Tensor, Tensor]:
    """The nearest integer, ties to even: what is coded. No gradient."""
    rounded = torch.round(residual)
    return rounded, rounded


def uniform_noise(residual: Tensor, level: int) -> tuple[Tensor, Tensor]:
    """Additive noise from U(-1/2, 1/2), for both rate and distortion (Ballé et al. 2017)."""
    noisy = residual + torch.rand_like(residual) - 0.5
    return noisy, noisy


def straight_through(residual: Tensor, level: int) -> tuple[Tensor, Tensor]:
    """The nearest integer, for both rate and distortion, with the gradient of the identity (Theis et al. 2017)."""
    rounded = residual + (torch.round(residual) - residual).detach()
    return rounded, rounded


def mixed(residual: Tensor, level: int) -> tuple[Tensor, Tensor]:
    """Rate from uniform noise; values rounded, with a straight-through gradient (Minnen and Singh 2020, §3.3)."""
    noisy, _ = uniform_noise(residual, level)
    rounded, _ = straight_through(residual, level)
    return noisy, rounded
