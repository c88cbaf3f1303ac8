"""Matrix products, on the CPU the fastest that torch has."""

from __future__ import annotations

import torch
from torch import Tensor

# A private operator: where a torch has none, products take torch.mm.
_linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


def has_onednn(dtype: torch.dtype) -> bool:
    """Whether `product` calls oneDNN itself, which allocates its result.

    Its float32 product takes half the time of MKL's, which torch.mm calls, on AMD's processors (Zen 5).
    """
    return dtype == torch.float32 and _linear is not None and bool(torch.backends.mkldnn.enabled)


def is_on_cpu(tensor: Tensor) -> bool:
    """`is_cpu`, which torch 2.4 does not compile in a backward; `device` takes longer."""
    return tensor.device.type == "cpu" if torch.compiler.is_compiling() else tensor.is_cpu


def product(a: Tensor, b: Tensor) -> Tensor:
    """a (m, k) times b.T (k, n), of one dtype and with any strides."""
    if is_on_cpu(a) and a.shape[1] and has_onednn(a.dtype):
        return _linear.default(a, b, None, "none", [], None)  # type: ignore[union-attr]  # has_onednn
    return a @ b.t()
