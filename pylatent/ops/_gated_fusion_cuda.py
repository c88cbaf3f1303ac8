"""The gated fusion on CUDA."""

from __future__ import annotations

import torch
from torch import Tensor

DTYPES: tuple[torch.dtype, ...] = ()


def forward(
    y: Tensor,
    s: Tensor,
    weight_y: Tensor,
    weight_s: Tensor,
    bias_y: Tensor | None,
    bias_s: Tensor | None,
    save: bool,
) -> tuple[Tensor, Tensor]:
    raise NotImplementedError


def backward(grad: Tensor, out: Tensor, gate: Tensor, sums: bool) -> tuple[Tensor, Tensor, Tensor]:
    raise NotImplementedError
