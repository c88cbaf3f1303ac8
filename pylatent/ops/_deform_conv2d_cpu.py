"""CPU kernels of the deformable convolution."""

from __future__ import annotations

import torch
from torch import Tensor

from pylatent.ops._deform_conv2d_sizes import Pair

DTYPES: tuple[torch.dtype, ...] = ()


def forward(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Tensor:
    raise NotImplementedError("deform_conv2d has no CPU kernel yet")


def backward(
    grad: Tensor,
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    needed: tuple[bool, bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    raise NotImplementedError("deform_conv2d has no CPU kernel yet")
