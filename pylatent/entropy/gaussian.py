"""Gaussian conditional prior: bits of a residual under N(0, scale^2), and the table of scales that codes it.

Minnen et al. 2018 (arXiv 1809.02736), section 3; the 64 scales are those of CompressAI's models.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pylatent.entropy.bounds import lower_bound

SCALE_BOUND = 0.11
LIKELIHOOD_BOUND = 1e-9


def default_scales() -> Tensor:
    """The 64 log-spaced scales from 0.11 to 256, float32."""
    return torch.exp(torch.linspace(math.log(0.11), math.log(256), 64))


def gaussian_bits(residual: Tensor, scale: Tensor) -> Tensor:
    """Bits of each element of `residual` under N(0, scale^2) integrated over unit bins; same shape, float32.

    The scale is bounded below by 0.11 and the likelihood by 1e-9, with the gradient rule of `lower_bound`.
    """
    with torch.autocast(residual.device.type, enabled=False):
        scale = lower_bound(scale.float(), SCALE_BOUND)
        t = torch.abs(residual.float())
        to_erfc = -(0.5**0.5)
        likelihood = 0.5 * (torch.erfc((0.5 - t) / scale * to_erfc) - torch.erfc((-0.5 - t) / scale * to_erfc))
        return -torch.log2(lower_bound(likelihood, LIKELIHOOD_BOUND))
