"""The gated fusion on the CPU: torch's matrix products, and native passes over their results."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from pylatent import _native
from pylatent.ops.gated_fusion.layout import (
    HALF_DTYPES,
    added,
    empty_output,
    empty_sums,
    in_layout,
    is_channels_last,
    sum_dtype,
)
from pylatent.ops.gated_fusion.products import convolve

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@cache
def product_dtype(dtype: torch.dtype) -> torch.dtype:
    """What the matrix products are computed in: half dtypes only where the CPU multiplies them.

    Elsewhere torch converts them one by one: 30 times slower (float16, 192 x 192 x 1536, Zen 5) than float32.
    """
    if dtype not in HALF_DTYPES:
        return dtype
    if not torch.backends.mkldnn.is_available():
        return torch.float32
    ops = torch.ops.mkldnn
    half = ops._is_mkldnn_fp16_supported if dtype == torch.float16 else ops._is_mkldnn_bf16_supported
    return dtype if half() else torch.float32


def forward(
    y: Tensor,
    s: Tensor,
    weight_y: Tensor,
    weight_s: Tensor,
    bias_y: Tensor | None,
    bias_s: Tensor | None,
    save: bool,
) -> tuple[Tensor, Tensor]:
    last, dtype, work, channels = is_channels_last(y), y.dtype, product_dtype(y.dtype), weight_y.shape[0]
    batch, _, height, width = y.shape
    if batch * channels * height * width == 0:
        out = empty_output(y, channels, dtype, last)
        return out, torch.empty_like(out) if save else y.new_empty(0)
    if work != dtype:
        y, s, weight_y, weight_s = (t.to(work) for t in (y, s, weight_y, weight_s))
    bias_y, bias_s = (None if b is None else b.contiguous() for b in (bias_y, bias_s))
    inside: tuple[Tensor | None, Tensor | None] = (None, None)
    if work in HALF_DTYPES:  # the product adds its bias: a sum of two rounded to half would lose twice what it must
        inside, bias_y, bias_s = (bias_y, bias_s), None, None
    u = convolve(in_layout(y, last), weight_y, inside[0], last)
    v = convolve(in_layout(s, last), weight_s, inside[1], last)
    # In place, unless the products have another dtype.
    out = u if work == dtype else empty_output(y, channels, dtype, last)
    if not save:
        gate = y.new_empty(0, dtype=dtype)
    else:
        gate = v if work == dtype else torch.empty_like(out)
    _native.core().gated_fusion_forward(
        u.data_ptr(),
        v.data_ptr(),
        _native.DTYPE_CODES[work],
        _pointer(bias_y),
        _pointer(bias_s),
        out.data_ptr(),
        gate.data_ptr() if save else 0,
        _native.DTYPE_CODES[dtype],
        batch * (height * width if last else channels),
        channels if last else height * width,
        channels,
        last,
        _native.thread_count(),
    )
    return out, gate


def backward(grad: Tensor, out: Tensor, gate: Tensor, sums: bool) -> tuple[Tensor, Tensor, Tensor]:
    last, dtype, work, channels = is_channels_last(out), out.dtype, product_dtype(out.dtype), out.shape[1]
    grad = in_layout(grad, last)
    grad_u, grad_v = (empty_output(out, channels, work, last) for _ in range(2))
    partial = empty_sums(out, last) if sums else None
    batch, pixels = out.shape[0], out.shape[2] * out.shape[3]
    _native.core().gated_fusion_backward(
        grad.data_ptr(),
        out.data_ptr(),
        gate.data_ptr(),
        _native.DTYPE_CODES[dtype],
        grad_u.data_ptr(),
        grad_v.data_ptr(),
        _native.DTYPE_CODES[work],
        _pointer(partial),
        0 if partial is None else partial.shape[1],
        batch * (pixels if last else channels),
        channels if last else pixels,
        channels,
        last,
        _native.thread_count(),
    )
    return grad_u, grad_v, grad.new_empty(0, dtype=sum_dtype(out.dtype)) if partial is None else added(partial)


def gate(u: Tensor, v: Tensor) -> None:
    """u becomes sigmoid(v) u, elementwise, for tensors of one layout and a dtype in which the CPU multiplies."""
    code = _native.DTYPE_CODES[u.dtype]
    _native.core().gated_fusion_gate(u.data_ptr(), v.data_ptr(), code, u.numel(), torch.get_num_threads())


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
