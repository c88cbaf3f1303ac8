"""Neighbourhood attention by brute force: all queries against all keys, those outside of a query's window left out."""

from __future__ import annotations

import torch
from torch import Tensor


def first_key(i: int, length: int, kernel: int, dilation: int) -> int:
    """Of the window of position i on an axis: the first of `kernel` positions, `dilation` apart, of i's residue. From
    the start of the axis, the window moves on until i is at its centre, or it can move no further."""
    start = i % dilation
    while start + kernel // 2 * dilation < i and start + kernel * dilation < length:
        start += dilation
    return start


def axis(length: int, kernel: int, dilation: int) -> tuple[Tensor, Tensor]:
    """For every query and key: whether the key is in the query's window, and the offset's index in the bias."""
    inside = torch.zeros(length, length, dtype=torch.bool)
    index = torch.zeros(length, length, dtype=torch.long)
    for i in range(length):
        first = first_key(i, length, kernel, dilation)
        for key in range(first, first + kernel * dilation, dilation):
            inside[i, key] = True
            index[i, key] = (key - i) // dilation + kernel - 1
    return inside, index


def attend_to_all(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, kernel: int, dilation: int, scale: float
) -> Tensor:
    """q, k, v: (B, H, W, heads, D), bias: (heads, 2 kernel - 1, 2 kernel - 1) -> (B, H, W, heads, D)."""
    (inside_y, index_y), (inside_x, index_x) = (axis(n, kernel, dilation) for n in q.shape[1:3])
    inside = inside_y[:, None, :, None] & inside_x[None, :, None, :]
    scores = scale * torch.einsum("byxhd,bmnhd->bhyxmn", q, k)
    if bias is not None:
        scores = scores + bias[:, index_y[:, None, :, None], index_x[None, :, None, :]]
    weights = scores.masked_fill(~inside, -torch.inf).flatten(4).softmax(-1).view_as(scores)
    return torch.einsum("bhyxmn,bmnhd->byxhd", weights, v)
