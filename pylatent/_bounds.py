"""A lower bound whose gradient can still leave the bound (Ballé et al. 2018, arXiv 1802.01436, appendix 6.4)."""

from __future__ import annotations

import torch
from torch import Tensor


class _LowerBound(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        passes = (x >= ctx.bound) | (grad < 0)
        return torch.where(passes, grad, 0.0), None


def lower_bound(x: Tensor, bound: float) -> Tensor:
    """max(x, bound), elementwise; the gradient passes where x >= bound, or where a step would raise x."""
    return _LowerBound.apply(x, bound)
