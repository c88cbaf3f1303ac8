"""The one table of tolerances: how far an operator may be from its float64 reference, by the dtype it computes in."""

from __future__ import annotations

import torch
from torch import Tensor

# Relative to the element plus the root mean square of the tensor: sums of terms of either sign have errors of the size
# of the terms. "tf32" is float32 storage with products of TF32.
TOLERANCES: dict[torch.dtype | str, float] = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    "tf32": 2e-3,
    torch.float16: 2e-3,
    torch.bfloat16: 1.6e-2,
}


def assert_close(
    actual: Tensor, reference: Tensor, dtype: torch.dtype | str | None = None, name: str = "the result"
) -> None:
    """AssertionError unless every element of `actual` is within the tolerance of `reference` (float64).

    `dtype` is a key of TOLERANCES, by default the dtype of `actual`. NaN is never close.
    """
    assert reference.dtype == torch.float64, f"the reference must be float64, got {reference.dtype}"
    assert actual.shape == reference.shape, f"{name} has shape {tuple(actual.shape)}, not {tuple(reference.shape)}"
    if actual.numel() == 0:
        return
    tolerance = TOLERANCES[dtype or actual.dtype]
    actual, reference = actual.detach().double().cpu(), reference.detach().cpu()
    error = (actual - reference).abs() / (reference.abs() + reference.square().mean().sqrt() + 1e-300)
    worst = float(error.nan_to_num(nan=float("inf")).max())
    assert worst <= tolerance, f"{name} is off by {worst:.3g} of its size, {tolerance:.3g} is allowed"
