"""Gated fusion of latents with their scales: two 1x1 convolutions, one of which gates the other.

    out = sigmoid(weight_s * s + bias_s) ⊙ (weight_y * y + bias_y)

Source: "An Empirical Analysis of Hyperprior Side-Information in Direct Latent-Space Image Classification" (OpenReview
VPfzijDmiV), Equation 1, there without biases.

Shapes: y (B, Cy, H, W), s (B, Cs, H, W), weight_y (C, Cy), weight_s (C, Cs), biases (C,) -> (B, C, H, W).

Fused: CUDA computes both products and the gate in one kernel; on the CPU torch's products, the fastest of those it has,
are followed by one pass in place. With u and v the arguments of the product and of the sigmoid, the gradients are

    grad_u = grad ⊙ sigmoid(v)        grad_v = grad ⊙ out ⊙ sigmoid(-v)

so that v is all that the forward pass keeps besides its output. One pass computes both, and their sums for the biases.
Recomputing v instead would trade 2 Cs operations for every 2 elements not moved: no gain from about 128 channels on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pylatent import _library, _native
from pylatent._checks import check_dtype, check_rank, check_same_device, check_same_dtype, check_shape, check_tensor
from pylatent.ops._autocast import any_autocast, autocast_dtype
from pylatent.ops.gated_fusion import cpu, cuda, products, small
from pylatent.ops.gated_fusion.layout import (
    empty_output,
    in_layout,
    is_channels_last,
    sum_dtype,
)

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def gated_fusion_reference(
    y: Tensor,
    s: Tensor,
    weight_y: Tensor,
    weight_s: Tensor,
    bias_y: Tensor | None = None,
    bias_s: Tensor | None = None,
) -> Tensor:
    """The definition, in plain torch."""
    u = weight_y.flatten(1) @ y.flatten(2)
    v = weight_s.flatten(1) @ s.flatten(2)
    if bias_y is not None:
        u = u + bias_y[:, None]
    if bias_s is not None:
        v = v + bias_s[:, None]
    return (torch.sigmoid(v) * u).unflatten(2, y.shape[2:])


def _check(
    y: Tensor, s: Tensor, weight_y: Tensor, weight_s: Tensor, bias_y: Tensor | None, bias_s: Tensor | None
) -> None:
    check_dtype("y", y, _DTYPES)
    check_rank("y", y, ("B", "Cy", "H", "W"))
    check_rank("s", s, ("B", "Cs", "H", "W"))
    (batch, inputs, height, width), scales = y.shape, s.shape[1]
    check_shape("s", s, (batch, scales, height, width))
    for name, weight, columns in (("weight_y", weight_y, inputs), ("weight_s", weight_s, scales)):
        if weight.dim() != 4:
            check_rank(name, weight, ("C", f"C{name[-1]}"))
            check_shape(name, weight, (weight_y.shape[0], columns))
        else:
            check_shape(name, weight, (weight_y.shape[0], columns, 1, 1))
    biases = (("bias_y", bias_y), ("bias_s", bias_s))
    for name, bias in biases:
        if bias is not None:
            check_shape(name, bias, weight_y.shape[:1])
    dtype, device = y.dtype, y.device
    for name, tensor in (("s", s), ("weight_y", weight_y), ("weight_s", weight_s), *biases):
        if tensor is not None and (tensor.dtype != dtype or tensor.device != device):
            check_same_dtype(name, tensor, "y", y)
            check_same_device(name, tensor, "y", y)


def _why_not_native(y: Tensor) -> str | None:
    """Why the native kernels cannot compute this call, or None if they can."""
    on_cuda = y.is_cuda or _native.is_emulated()
    return _native.why_not_native(y, (cuda if on_cuda else cpu).DTYPES)


# Results have the layout of y. The second is v, or empty, of shape (0,), unless it is to be saved.


def _forward_fake(
    y: Tensor,
    s: Tensor,
    weight_y: Tensor,
    weight_s: Tensor,
    bias_y: Tensor | None,
    bias_s: Tensor | None,
    save: bool,
) -> tuple[Tensor, Tensor]:
    out = empty_output(y, weight_y.shape[0], y.dtype, is_channels_last(y))
    return out, torch.empty_like(out) if save else y.new_empty(0)


_forward = _library.define(
    "gated_fusion(Tensor y, Tensor s, Tensor weight_y, Tensor weight_s, Tensor? bias_y, Tensor? bias_s, bool save) "
    "-> (Tensor, Tensor)",
    cpu=cpu.forward,
    cuda=cuda.forward,
    fake=_forward_fake,
)


# From grad, out and v: grad_u and grad_v in the layout of out and the dtype that products are computed in, and their
# sums over all but the channels, (2, C), or an empty tensor of shape (0,) unless these are wanted.


def _backward_fake(grad: Tensor, out: Tensor, gate: Tensor, sums: bool) -> tuple[Tensor, Tensor, Tensor]:
    on_cuda = out.is_cuda or _native.is_emulated()
    work = out.dtype if on_cuda else cpu.product_dtype(out.dtype)
    grad_u, grad_v = (empty_output(out, out.shape[1], work, is_channels_last(out)) for _ in range(2))
    return grad_u, grad_v, grad.new_empty((2, out.shape[1]) if sums else (0,), dtype=sum_dtype(out.dtype))


_backward = _library.define(
    "gated_fusion_backward(Tensor grad, Tensor out, Tensor gate, bool sums) -> (Tensor, Tensor, Tensor)",
    cpu=cpu.backward,
    cuda=cuda.backward,
    fake=_backward_fake,
)


class _GatedFusion(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        s: Tensor,
        weight_y: Tensor,
        weight_s: Tensor,
        bias_y: Tensor | None,
        bias_s: Tensor | None,
    ) -> Tensor:
        out, gate = _forward(y, s, weight_y, weight_s, bias_y, bias_s, True)
        ctx.save_for_backward(y, s, weight_y, weight_s, out, gate)
        return out

    @staticmethod
    @_library.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, s, weight_y, weight_s, out, gate = ctx.saved_tensors
        needs = ctx.needs_input_grad
        to_bias = needs[4] or needs[5]
        grad_u, grad_v, sums = _backward(grad, out, gate, to_bias)
        dtype, work, last = y.dtype, grad_u.dtype, is_channels_last(out)
        # Where nothing is traced, the CPU's products are chosen by trying them.
        tried = out.is_cpu and not torch.compiler.is_compiling() and not _native.is_emulated()
        gradients = products.gradients if tried else products.library_gradients
        if to_bias and sums.dtype != dtype:
            sums = sums.to(dtype)
        grads: list[Tensor | None] = [None] * 6
        for i, x, weight, grad_w in ((0, y, weight_y, grad_u), (1, s, weight_s, grad_v)):
            if needs[i] or needs[i + 2]:
                x = in_layout(x, last)
                if work != dtype:  # even where it changes nothing, `to` costs a microsecond
                    x, weight = x.to(work), weight.to(work)
                grads[i], grads[i + 2] = gradients(grad_w, x, weight, (needs[i], needs[i + 2]), last)
            if needs[i + 4]:
                grads[i + 4] = sums.select(0, i)
        if work != dtype:
            grads = [None if t is None else t.to(dtype) for t in grads]
        return tuple(grads)


def gated_fusion(
    y: Tensor,
    s: Tensor,
    weight_y: Tensor,
    weight_s: Tensor,
    bias_y: Tensor | None = None,
    bias_s: Tensor | None = None,
    *,
    backend: _native.Backend = "auto",
) -> Tensor:
    """sigmoid(weight_s * s + bias_s) ⊙ (weight_y * y + bias_y), where * is a 1x1 convolution.

    y: (B, Cy, H, W), float32, float64, float16 or bfloat16; contiguous or channels-last without a copy.
    s: (B, Cs, H, W), best in the layout of `y`.
    weight_y: (C, Cy) or (C, Cy, 1, 1).
    weight_s: (C, Cs) or (C, Cs, 1, 1).
    bias_y, bias_s: (C,), or None.
    backend: "native" kernels, the "torch" reference, or "auto": native where possible, except for small tensors on
        a CPU, where eager torch's convolutions are as fast.

    All tensors have one dtype, except under autocast, which casts them all. float32 on CUDA follows torch's setting of
    TF32 for matrix products. There is no CUDA kernel for float64.

    Returns (B, C, H, W) in the dtype of `y`, channels-last if `y` is. Differentiable once in all tensors. Raises
    TypeError and ValueError for arguments that do not fit each other, RuntimeError if "native" is asked for and not
    possible.
    """
    if backend == "auto" and not any_autocast():
        out = small.fuse(y, s, weight_y, weight_s, bias_y, bias_s)
        if out is not None:
            return out
    for name, tensor in (("y", y), ("s", s), ("weight_y", weight_y), ("weight_s", weight_s)):
        check_tensor(name, tensor)
    for name, bias in (("bias_y", bias_y), ("bias_s", bias_s)):
        if bias is not None:
            check_tensor(name, bias)
    if (dtype := autocast_dtype(y)) is not None:
        y, s, weight_y, weight_s = (t.to(dtype) for t in (y, s, weight_y, weight_s))
        bias_y, bias_s = (None if b is None else b.to(dtype) for b in (bias_y, bias_s))
    if backend == "auto" and any_autocast():
        out = small.fuse(y, s, weight_y, weight_s, bias_y, bias_s)
        if out is not None:
            return out
    _check(y, s, weight_y, weight_s, bias_y, bias_s)
    if not _native.choose(backend, _why_not_native(y)):
        return gated_fusion_reference(y, s, weight_y, weight_s, bias_y, bias_s)
    if _library.needs_gradient(y, s, weight_y, weight_s, bias_y, bias_s):
        return _GatedFusion.apply(y, s, weight_y, weight_s, bias_y, bias_s)
    return _forward(y, s, weight_y, weight_s, bias_y, bias_s, False)[0]
