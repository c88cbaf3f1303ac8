"""Gaussian conditional prior: bits of a residual under N(0, scale^2), and the table of scales that codes it.

Minnen et al. 2018 (arXiv 1809.02736), section 3; the 64 scales are those of CompressAI's models.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pylatent.ops.gaussian_bits import SCALE_BOUND, gaussian_bits

__all__ = ["SCALE_BOUND", "default_scales", "gaussian_bits"]


def default_scales() -> Tensor:
    """The 64 log-spaced scales from 0.11 to 256, float32."""
    return torch.exp(torch.linspace(math.log(0.11), math.log(256), 64))
