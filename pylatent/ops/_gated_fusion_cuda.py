"""The gated fusion on CUDA: one kernel for both products and the gate, one for the pre-activation gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from pylatent import _native
from pylatent.ops._gated_fusion_layout import empty_output, empty_sums, in_layout, is_channels_last, sum_dtype

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def tf32_allowed() -> bool:
    """Whether torch lets matrix products of float32 be computed as TF32. If not, the kernel splits every factor into
    two TF32 numbers, which is as exact as float32 to within a few units in the last place."""
    precision = getattr(torch.backends.cuda.matmul, "fp32_precision", "none")  # since torch 2.9
    return precision == "tf32" if precision != "none" else torch.backends.cuda.matmul.allow_tf32


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
        y.dtype == torch.float32 and tf32_allowed(),
        _native.device_index(y),
        _native.stream(y),
    )
    return out, gate


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
    return grad_u, grad_v, grad.new_empty(0, dtype=sum_dtype(out.dtype)) if partial is None else partial.sum(1)
