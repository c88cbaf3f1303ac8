"""Generalized divisive normalization (Ballé et al. 2016, arXiv 1511.06281), with CompressAI's parameters."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.ops._bounds import lower_bound

_PEDESTAL = 2.0**-36
_BETA_MIN = 1e-6
_GAMMA_INIT = 0.1


class GDN(nn.Module):
    """y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2); times instead of over when `inverse`. (B, C, H, W) -> same.

    `beta` (C,) and `gamma` (C, C) are stored as square roots, as in CompressAI's state dicts, so that they stay
    nonnegative in training.
    """

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.sqrt(torch.ones(channels) + _PEDESTAL))
        self.gamma = nn.Parameter(torch.sqrt(_GAMMA_INIT * torch.eye(channels) + _PEDESTAL))

    def forward(self, x: Tensor) -> Tensor:
        beta = lower_bound(self.beta, (_BETA_MIN + _PEDESTAL) ** 0.5) ** 2 - _PEDESTAL
        gamma = lower_bound(self.gamma, _PEDESTAL**0.5) ** 2 - _PEDESTAL
        norm = F.conv2d(x * x, gamma[:, :, None, None], beta)
        if not torch.is_grad_enabled():  # the same in place: at picture size the memory traffic is what costs
            return (norm.sqrt_() if self.inverse else norm.rsqrt_()).mul_(x)
        norm = torch.sqrt(norm) if self.inverse else torch.rsqrt(norm)
        return x * norm.to(x.dtype)
