"""The one table of tolerances: how far an operator may be from its float64 reference, by the dtype it computes in.

Those of half precision, four units of rounding, are for operators that compute in float32 and round their inputs and
results alone. Where products are computed in half precision, and results between them rounded, a test propagates the
errors and gives each element its own bound, to `assert_within`: the gated fusion's is in `ops/gated_fusion_bound.py`.
"""

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


def assert_within(actual: Tensor, reference: Tensor, errors: Tensor, name: str) -> None:
    """AssertionError unless each element of `actual` is at most so far from `reference` (float64). NaN is too far."""
    assert reference.dtype == torch.float64, f"the reference must be float64, got {reference.dtype}"
    shapes = [tuple(x.shape) for x in (actual, reference, errors)]
    assert len(set(shapes)) == 1, f"{name}, its reference and its bound have shapes {shapes}"
    if actual.numel() == 0:
        return
    share = (actual.detach().double().cpu() - reference.detach().cpu()).abs() / (errors + 1e-300)
    worst = float(share.nan_to_num(nan=float("inf")).max())
    assert worst <= 1, f"{name} is off by {worst:.3g} times as much as its arithmetic explains"
