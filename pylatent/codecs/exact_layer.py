"""A layer of an exact network, as its definition (exact.py) and its kernels (_exact_native.py) take it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ExactLayer:
    """One convolution with its activation.

    weight: integers in float64, laid out as in `nn.Conv2d` or `nn.ConvTranspose2d`; bias: integers over
    2^(weight_bits + activation_bits). slope: the numerator over 2^10 that multiplies negative sums (1024 for no
    activation, 0 for ReLU).
    """

    weight: Tensor
    bias: Tensor
    stride: int
    padding: int
    output_padding: int
    transposed: bool
    slope: int
