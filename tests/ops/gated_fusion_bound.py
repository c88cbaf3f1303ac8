"""How far the gated fusion of half-precision tensors may be from the float64 reference: a bound for every element.

A matrix product may be computed in half precision, with sums in float32, so that these are rounded to the dtype: the
two products with their biases, the result, the gradients of the products' results, and each gradient that is returned.
A bound relative to a result cannot hold: products of rounded values are added up, and may cancel. So the rounding
errors are propagated, each at its largest and none against another: |â b̂ - a b| <= |a| Eb + |b| Ea + Ea Eb.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

UNIT = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}  # of rounding to nearest, relative
FLUSHED = 2.0**-126  # below the normal numbers of float32, kernels may take 0
SMALLEST = {torch.float16: 2.0**-25, torch.bfloat16: FLUSHED}  # of rounding what is below the normal numbers, absolute
SUM = 2.0**-23  # of a float32 sum, of its terms' magnitudes and per term
EXPONENTIAL = 2.0**-20  # of the sigmoid's float32 arithmetic


@dataclass(frozen=True)
class Known:
    """A float64 value and how far the computed one may be from it."""

    value: Tensor
    error: Tensor | float

    def rounded(self, dtype: torch.dtype) -> Known:
        reach = self.value.abs() + self.error
        return Known(self.value, self.error + UNIT[dtype] * reach + SMALLEST[dtype])

    def __mul__(self, other: Known) -> Known:
        a, b = self.value.abs(), other.value.abs()
        return Known(self.value * other.value, a * other.error + b * self.error + self.error * other.error)

    def __matmul__(self, other: Known) -> Known:
        a, b = self.value.abs(), other.value.abs()
        most = (a + self.error) @ (b + other.error)
        return Known(self.value @ other.value, most - a @ b + SUM * a.shape[-1] * most)

    def __add__(self, other: Known) -> Known:
        return Known(self.value + other.value, self.error + other.error)

    def sigmoid(self) -> Known:
        value = self.value.sigmoid()
        # The slope at a distance e is at most exp(e) times the slope here.
        moved = value * (-self.value).sigmoid() * torch.expm1(torch.as_tensor(self.error))
        return Known(value, moved.clamp_max(1) + EXPONENTIAL * value + FLUSHED)

    def mirrored(self) -> Known:
        return Known(-self.value, self.error)

    def transposed(self) -> Known:
        return Known(self.value.mT, self.error.mT if isinstance(self.error, Tensor) else self.error)

    def summed(self, dims: tuple[int, ...]) -> Known:
        terms = self.value.numel() // max(1, self.value.sum(dims).numel())
        error = torch.as_tensor(self.error).expand_as(self.value)
        return Known(self.value.sum(dims), (error + SUM * terms * self.value.abs()).sum(dims))


def bounds(
    inputs: list[Tensor | None], grad: Tensor, dtype: torch.dtype, *, cast: bool = False, fused: bool = True
) -> list[Tensor]:
    """Largest errors of the result and of the gradients of y, s, both weights and both biases, as these are shaped.

    inputs: the reference's, in float64. cast: they are rounded to `dtype` first, as under autocast. fused: the gate is
    not rounded, nor its gradient, as they are between torch's operators.
    """
    y, s, weight_y, weight_s, bias_y, bias_s = inputs
    batch, height, width = y.shape[0], y.shape[2], y.shape[3]

    def given(x: Tensor, *shape: int) -> Known:
        x = x.detach().reshape(shape or x.shape)
        known = Known(x, torch.zeros_like(x))
        return known.rounded(dtype) if cast else known

    def affine(weight: Known, x: Known, bias: Tensor | None) -> Known:
        product = weight @ x
        return (product if bias is None else product + given(bias, -1, 1)).rounded(dtype)

    # Pixels of all pictures in one dimension: (channels, batch height width).
    columns = [given(x.transpose(0, 1).flatten(1)) for x in (y, s)]
    weights = [given(w.flatten(1)) for w in (weight_y, weight_s)]
    u, v = (affine(w, x, b) for w, x, b in zip(weights, columns, (bias_y, bias_s), strict=True))
    gate = v.sigmoid() if fused else v.sigmoid().rounded(dtype)
    out = (gate * u).rounded(dtype)
    grad = Known(grad.transpose(0, 1).flatten(1), 0.0)
    to_u = (grad * gate).rounded(dtype)
    if fused:
        to_v = (grad * out * v.mirrored().sigmoid()).rounded(dtype)
    else:  # the slope of gate - gate² is at most 1
        slope = Known(gate.value * (1 - gate.value), gate.error + EXPONENTIAL)
        to_v = ((grad * u).rounded(dtype) * slope).rounded(dtype)

    def pixels(known: Known) -> Tensor:
        return known.error.unflatten(1, (batch, height, width)).transpose(0, 1)

    results = [pixels(out)]
    results += [pixels((w.transposed() @ g).rounded(dtype)) for w, g in zip(weights, (to_u, to_v), strict=True)]
    for w, x, g in zip((weight_y, weight_s), columns, (to_u, to_v), strict=True):
        results.append((g @ x.transposed()).rounded(dtype).error.view(w.shape))
    return results + [g.summed((1,)).rounded(dtype).error for g in (to_u, to_v)]
