"""The gated fusion on CUDA: one kernel for both products and the gate or, for much work, torch's products and a pass
over them; one kernel for the pre-activation gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from pylatent import _native
from pylatent.ops.gated_fusion import cost as cost
from pylatent.ops.gated_fusion.layout import (
    added,
    convolve,
    empty_output,
    empty_sums,
    in_layout,
    is_channels_last,
    sum_dtype,
)

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def products_apart(y: Tensor, s: Tensor, channels: int, tf32: bool, save: bool) -> bool:
    """Whether torch computes the products: where that saves more than the launches cost."""
    (batch, inputs, height, width), scales = y.shape, s.shape[1]
    pixels = batch * height * width
    if pixels * channels * inputs * scales == 0:
        return False
    saved = cost.seconds_saved(y.dtype, tf32, pixels, channels, inputs, scales, save)
    return saved > cost.LAUNCHES or (saved > 0 and y.is_cuda and torch.cuda.is_current_stream_capturing())


def forward(
    y: Tensor,
    s: Tensor,
    weight_y: Tensor,
    weight_s: Tensor,
    bias_y: Tensor | None,
    bias_s: Tensor | None,
    save: bool,
) -> tuple[Tensor, Tensor]:
    last = is_channels_last(y)
    y, s, weight_y, weight_s = in_layout(y, last), in_layout(s, last), weight_y.contiguous(), weight_s.contiguous()
    bias_y, bias_s = (None if b is None else b.contiguous() for b in (bias_y, bias_s))
    tf32 = y.dtype == torch.float32 and _native.tf32_allowed()
    if products_apart(y, s, weight_y.shape[0], tf32, save):
        return _apart(y, s, weight_y, weight_s, bias_y, bias_s, save, last)
    out = empty_output(y, weight_y.shape[0], y.dtype, last)
    gate = torch.empty_like(out) if save else y.new_empty(0)
    _native.cuda_core().gated_fusion_cuda_forward(
        *(0 if t is None else t.data_ptr() for t in (y, s, weight_y, weight_s, bias_y, bias_s)),
        out.data_ptr(),
        gate.data_ptr() if save else 0,
        _native.DTYPE_CODES[y.dtype],
        y.shape[0],
        y.shape[1],
        s.shape[1],
        out.shape[1],
        y.shape[2] * y.shape[3],
        last,
        tf32,
        _native.device_index(y),
        _native.stream(y),
    )
    return out, gate


def _apart(
    y: Tensor,
    s: Tensor,
    weight_y: Tensor,
    weight_s: Tensor,
    bias_y: Tensor | None,
    bias_s: Tensor | None,
    save: bool,
    last: bool,
) -> tuple[Tensor, Tensor]:
    u, v = convolve(y, weight_y.flatten(1), last), convolve(s, weight_s.flatten(1), last)
    _native.cuda_core().gated_fusion_cuda_gate(
        *(0 if t is None else t.data_ptr() for t in (u, v, bias_y, bias_s)),
        save,
        _native.DTYPE_CODES[y.dtype],
        u.shape[0],
        u.shape[1],
        u.shape[2] * u.shape[3],
        last,
        _native.device_index(u),
        _native.stream(u),
    )
    return u, v if save else y.new_empty(0)


def backward(grad: Tensor, out: Tensor, gate: Tensor, sums: bool) -> tuple[Tensor, Tensor, Tensor]:
    last = is_channels_last(out)
    grad = in_layout(grad, last)
    grad_u, grad_v = torch.empty_like(out), torch.empty_like(out)
    partial = empty_sums(out, last) if sums else None
    batch, channels, height, width = out.shape
    _native.cuda_core().gated_fusion_cuda_backward(
        *(t.data_ptr() for t in (grad, out, gate, grad_u, grad_v)),
        0 if partial is None else partial.data_ptr(),
        0 if partial is None else partial.shape[1],
        _native.DTYPE_CODES[out.dtype],
        batch,
        channels,
        height * width,
        last,
        _native.device_index(out),
        _native.stream(out),
    )
    return grad_u, grad_v, grad.new_empty(0, dtype=sum_dtype(out.dtype)) if partial is None else added(partial)
