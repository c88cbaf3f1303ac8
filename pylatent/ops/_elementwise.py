"""Memory layout of elementwise operators: kernels see a tensor as one run of elements."""

from __future__ import annotations

import torch
from torch import Tensor


def like(layout: Tensor, tensor: Tensor) -> Tensor:
    """`tensor` with the strides of the dense tensor `layout`, which has the same shape; copied only where needed."""
    if tensor.stride() == layout.stride():
        return tensor
    return torch.empty_like(layout, dtype=tensor.dtype).copy_(tensor)
