"""Gains of an integer synthesis: integers for whole qualities, geometric means by integer square roots between them."""

from __future__ import annotations

import torch
from torch import Tensor

GAIN_BITS = 20
LARGEST_LATENT = (1 << 19) - 1  # latents over 2^8 are clamped to this magnitude
STEPS = 64  # of a quality


def gains_of(gains: Tensor, quality: float | None) -> Tensor:
    """(Q, M) int32 for qualities 1 to Q -> (M,) int32 for one, which counts in steps of 1/64; None: the only row.

    Between two qualities the gains are bisected: in the middle stands the square root of their product, rounded down.
    """
    steps = 0 if quality is None else round((quality - 1) * STEPS)
    row, place = divmod(steps, STEPS)
    if place == 0:
        return gains[row]
    low, high, width = gains[row].long(), gains[row + 1].long(), STEPS
    while place:
        width //= 2
        middle = integer_sqrt(low * high)
        if place < width:
            high = middle
        else:
            low, place = middle, place - width
    return low.to(torch.int32)


def integer_sqrt(values: Tensor) -> Tensor:
    """Square roots of int64 from 0 to 2^62 - 1, rounded down."""
    roots = values.double().sqrt().long()  # at most one off
    roots = roots - (roots * roots > values).long()
    return roots + ((roots + 1) * (roots + 1) <= values).long()
