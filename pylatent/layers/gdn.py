"""Generalized divisive normalization (Ballé et al. 2016, arXiv 1511.06281), with CompressAI's parameters."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent._bounds import lower_bound
from pylatent._products import has_onednn, product

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
        if torch.is_grad_enabled() and x.requires_grad and not (gamma.requires_grad or beta.requires_grad):
            with torch.autocast(x.device.type, enabled=False):
                return _FrozenGDN.apply(x, gamma.to(x.dtype), beta.to(x.dtype), self.inverse)
        norm = F.conv2d(x * x, gamma[:, :, None, None], beta)
        if not torch.is_grad_enabled():  # the same in place: at picture size the memory traffic is what costs
            return (norm.sqrt_() if self.inverse else norm.rsqrt_()).mul_(x)
        norm = torch.sqrt(norm) if self.inverse else torch.rsqrt(norm)
        return x * norm.to(x.dtype)


class _FrozenGDN(torch.autograd.Function):
    """GDN with the gradient of x alone, as refinement needs it: with n = beta + gamma x² and v the gradient of y,

        y = x sqrt(n):   v sqrt(n) + x gamma^T (v x / sqrt(n))
        y = x / sqrt(n): v / sqrt(n) - x gamma^T (v x / sqrt(n)³)

    in half the passes over memory that autograd makes.
    """

    @staticmethod
    def forward(ctx, x: Tensor, gamma: Tensor, beta: Tensor, inverse: bool) -> Tensor:
        norm = _mix(x * x, gamma).add_(beta[:, None, None])
        root = norm.sqrt_() if inverse else norm.rsqrt_()
        ctx.save_for_backward(x, gamma, root)
        ctx.inverse = inverse
        return x * root

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        x, gamma, root = ctx.saved_tensors
        inner = grad * x
        inner = inner.div_(root) if ctx.inverse else inner.mul_(root).mul_(root).mul_(root).neg_()
        return _mix(inner, gamma.t()).mul_(x).addcmul_(grad, root), None, None, None


def _mix(x: Tensor, weight: Tensor) -> Tensor:
    """A 1x1 convolution; of float32 pixels, channels last, the product, faster than one-thread conv2d."""
    fast = x.is_cpu and has_onednn(x.dtype) and not torch.compiler.is_compiling()  # which cannot lower that product
    if fast and x.is_contiguous(memory_format=torch.channels_last):
        pixels = x.permute(0, 2, 3, 1)
        return product(pixels.flatten(0, 2), weight).view(pixels.shape).permute(0, 3, 1, 2)
    return F.conv2d(x, weight[:, :, None, None].contiguous())
