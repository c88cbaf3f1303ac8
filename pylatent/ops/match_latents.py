"""Matching of latents: every position of a latent gathers what a reference has where it is alike.

    result = softmax(query^T key / temperature) value,    the softmax over the positions of the reference

S = softmax(phi(y)^T phi(y_r) / tau), y_m = S y_r of "Conditional Latent Coding with Learnable Synthesized Reference for
Deep Image Compression" (arXiv 2502.09971, conditional latent matching). query (B, d, H, W), key (B, d, h, w), value
(B, v, h, w) -> (B, v, H, W).

This is `torch.nn.functional.scaled_dot_product_attention`, whose fused kernels never hold the matrix of H W rows and
h w columns, and this module only sees to it that they are chosen where they win. On the CPU torch has one for d = v and
channels that lie side by side alone, and would fall back to the matrix, so the narrower side is filled with zeros,
which change nothing; and few pairs go through the plain formula, which takes seven eighths of the time there, and less
where `bmm` spares autograd the nodes of `matmul`. At
68 x 120, d = 256, v = 320 (the latents of a 1080p picture; one thread of a Zen 4) the plain formula takes 1.4 times as
long forward and 1.2 times with its gradients, and 9 to 13 times the memory. Both spend their time in matrix products,
at two thirds of what the core can do, so a kernel of ours had little to save.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_FEW_PAIRS = 1 << 22  # 16 MB in float32


def match_latents_reference(query: Tensor, key: Tensor, value: Tensor, temperature: float = 1.0) -> Tensor:
    """The definition, with the whole matrix."""
    scores = query.flatten(2).transpose(1, 2) @ key.flatten(2) / temperature
    result = value.flatten(2) @ torch.softmax(scores, -1).transpose(1, 2)
    return result.view(*value.shape[:2], *query.shape[2:])


def match_latents(query: Tensor, key: Tensor, value: Tensor, temperature: float = 1.0) -> Tensor:
    """softmax(query^T key / temperature) value, without the matrix of all pairs; differentiable.

    query (B, d, H, W), key (B, d, h, w) and value (B, v, h, w), of one floating-point dtype (autocast is welcome), on
    one device -> (B, v, H, W). temperature: above 0. Raises ValueError for what does not fit together.
    """
    _check(query, key, value, temperature)
    batch, channels = value.shape[:2]
    height, width = query.shape[2:]
    if 0 in (batch, channels, height, width):
        return value.new_zeros(batch, channels, height, width) + 0 * (query.sum() + key.sum() + value.sum())
    if query.is_cpu and height * width * key.shape[2] * key.shape[3] <= _FEW_PAIRS:
        return _few_pairs(query, key, value, temperature)
    q, k, v = (each.flatten(2).transpose(1, 2)[:, None].contiguous() for each in (query, key, value))
    if query.is_cpu:
        most = max(q.shape[-1], v.shape[-1])
        q, k, v = (F.pad(each, (0, most - each.shape[-1])) for each in (q, k, v))
    result = F.scaled_dot_product_attention(q, k, v, scale=1 / temperature)[:, 0, :, :channels]
    return result.transpose(1, 2).reshape(batch, channels, height, width)


def _few_pairs(query: Tensor, key: Tensor, value: Tensor, temperature: float) -> Tensor:
    rows = query.flatten(2).transpose(1, 2)
    scores = torch.bmm(rows if temperature == 1 else rows / temperature, key.flatten(2))
    result = torch.bmm(value.flatten(2), torch.softmax(scores, -1).transpose(1, 2))
    return result.view(*value.shape[:2], *query.shape[2:])


def _check(query: Tensor, key: Tensor, value: Tensor, temperature: float) -> None:
    dtype, device = query.dtype, query.device
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if tensor.ndim != 4:
            raise ValueError(f"`{name}` must have shape (B, C, H, W), got {tuple(tensor.shape)}")
        if tensor.dtype != dtype or not dtype.is_floating_point:
            raise ValueError(f"`{name}` must be a floating-point tensor as `query` ({dtype}), got {tensor.dtype}")
        if tensor.device != device:
            raise ValueError(f"`{name}` must be on {device} as `query`, got {tensor.device}")
    (batch, channels, _, _), (pictures, width, *positions) = query.shape, key.shape
    if pictures != batch or width != channels or 0 in (channels, *positions):
        raise ValueError(f"`key` must have shape ({batch}, {channels}, h, w), h and w above 0, got {tuple(key.shape)}")
    if value.shape[0] != batch or value.shape[2:] != (*positions,):
        expected = f"({batch}, v, {positions[0]}, {positions[1]})"
        raise ValueError(f"`value` must have shape {expected}, the positions of `key`, got {tuple(value.shape)}")
    if not temperature > 0:
        raise ValueError(f"`temperature` must be above 0, got {temperature}")
