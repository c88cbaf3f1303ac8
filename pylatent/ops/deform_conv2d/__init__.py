"""Deformable convolution, modulated or not (Dai et al. 2017, arXiv 1703.06211; Zhu et al. 2019, arXiv 1811.11168).

    y(o, p) = bias(o) + sum over taps t and channels c of
              weight(o, c, t) · mask(g(c), t, p) · x(c, p · stride − padding + t · dilation + offset(g(c), t, p))

where g(c) is the offset group of channel c, and x(c, ·) is the bilinear interpolation of channel c, zero outside the
picture. Signature, semantics and layout of the offsets are those of `torchvision.ops.deform_conv2d`.

Fused: coordinates and the four bilinear weights are computed once per pixel, tap and offset group for all channels, and
the columns (samples of all taps and channels) of a tile of pixels live only until they are multiplied by the weight.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent import _library, _native
from pylatent._checks import check_dtype, check_rank, check_same_device, check_same_dtype, check_shape, check_tensor
from pylatent.ops._autocast import autocast_dtype
from pylatent.ops.deform_conv2d import cpu, cuda
from pylatent.ops.deform_conv2d.sizes import Pair, coordinate_dtype, empty_output, sizes

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def deform_conv2d_reference(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """The definition, in plain torch with one column buffer; computes in float32 for half dtypes.

    A sample lies at (y, x) relative to the corners floor(y), floor(y) + 1, so that at whole coordinates the gradient is
    the one to the right. It counts if -1 <= y < H and -1 <= x < W, and is zero otherwise, also for NaN.
    """
    stride, padding, dilation = _pair("stride", stride), _pair("padding", padding), _pair("dilation", dilation)
    n = sizes(input, offset, weight, stride, padding, dilation)
    dtype = coordinate_dtype(input.dtype)
    shape = (n.batch, n.offset_groups, n.taps, *n.out)
    at = offset.to(dtype).reshape(n.batch, n.offset_groups, n.taps, 2, *n.out)
    origins = [
        (torch.arange(count, device=input.device) * s - p, torch.arange(k, device=input.device) * d)
        for count, k, s, p, d in zip(n.out, n.kernel, stride, padding, dilation, strict=True)
    ]
    tap_y, tap_x = (tap.to(dtype) for tap in torch.meshgrid(origins[0][1], origins[1][1], indexing="ij"))
    y = origins[0][0].to(dtype)[:, None] + tap_y.reshape(-1, 1, 1) + at[:, :, :, 0]
    x = origins[1][0].to(dtype) + tap_x.reshape(-1, 1, 1) + at[:, :, :, 1]

    counts = (y >= -1) & (y < n.height) & (x >= -1) & (x < n.width)
    y, x = (torch.where(counts, v, torch.full_like(v, -2)) for v in (y, x))
    top, left = y.detach().floor(), x.detach().floor()
    down, right = y - top, x - left

    # Corners outside the picture read the zero appended to every channel.
    zero = n.height * n.width
    pixels = F.pad(input.to(dtype).flatten(2), (0, 1))
    pixels = pixels.reshape(n.batch, n.offset_groups, n.channels // n.offset_groups, zero + 1)
    columns: Tensor | float = 0.0
    for row, row_weight in ((top, 1 - down), (top + 1, down)):
        for column, column_weight in ((left, 1 - right), (left + 1, right)):
            inside = (row >= 0) & (row < n.height) & (column >= 0) & (column < n.width)
            index = torch.where(inside, row * n.width + column, torch.full_like(row, zero)).long()
            index = index.flatten(2)[:, :, None].expand(-1, -1, pixels.shape[2], -1)
            corner = pixels.gather(3, index).unflatten(3, shape[2:])
            columns = columns + corner * (row_weight * column_weight)[:, :, None]
    assert isinstance(columns, Tensor)
    if mask is not None:
        columns = columns * mask.to(dtype).reshape(shape)[:, :, None]
    terms = weight.shape[1] * n.taps
    columns = columns.reshape(n.batch, n.groups, terms, n.out[0] * n.out[1])
    kernel = weight.to(dtype).reshape(n.groups, n.out_channels // n.groups, terms)
    out = (kernel @ columns).reshape(n.batch, n.out_channels, *n.out)
    if bias is not None:
        out = out + bias.to(dtype)[:, None, None]
    return out.to(input.dtype)


def _pair(name: str, value: int | Pair) -> Pair:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(isinstance(v, int) for v in pair):
        raise ValueError(f"`{name}` must be an integer or two, got {value!r}")
    least = 0 if name == "padding" else 1
    if min(pair) < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value!r}")
    return pair


def _check(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> None:
    tensors = {"input": input, "offset": offset, "weight": weight}
    # torch 2.4 compiles no `|=`.
    tensors.update({name: t for name, t in (("bias", bias), ("mask", mask)) if t is not None})
    for name, tensor in tensors.items():
        check_dtype(name, tensor, _DTYPES)
        check_same_device(name, tensor, "input", input)
    check_same_dtype("weight", weight, "input", input)
    if bias is not None:
        check_same_dtype("bias", bias, "input", input)
    coordinate_dtypes = (input.dtype, coordinate_dtype(input.dtype))
    for name in ("offset", "mask"):
        if name in tensors and tensors[name].dtype not in coordinate_dtypes:
            check_same_dtype(name, tensors[name], "input", input)
    check_rank("input", input, ("B", "Cin", "H", "W"))
    check_rank("weight", weight, ("Cout", "Cin // groups", "kH", "kW"))
    check_rank("offset", offset, ("B", "2 * offset groups * kH * kW", "outH", "outW"))
    if 0 in weight.shape[2:]:
        raise ValueError(f"`weight` must have a kernel of at least 1 x 1, got shape {tuple(weight.shape)}")
    channels, per_group, taps = input.shape[1], weight.shape[1], weight.shape[2] * weight.shape[3]
    if channels % per_group if per_group else channels:
        raise ValueError(
            f"`weight` must have a divisor of the {channels} channels of `input` as shape[1], got {per_group}"
        )
    n = sizes(input, offset, weight, stride, padding, dilation)
    if n.out_channels % n.groups:
        raise ValueError(f"`weight` must have a multiple of its {n.groups} groups as shape[0], got {n.out_channels}")
    if offset.shape[1] % (2 * taps) or n.offset_groups == 0 or channels % n.offset_groups:
        raise ValueError(
            f"`offset` must have as shape[1] 2 * {n.kernel[0]} * {n.kernel[1]} times a divisor of `input`'s {channels} "
            f"channels, got {offset.shape[1]}"
        )
    if min(n.out) < 0:
        raise ValueError(
            f"`input` is too small for this kernel, got shape {tuple(input.shape)} for an output of {n.out}"
        )
    check_shape("offset", offset, (n.batch, 2 * n.offset_groups * taps, *n.out))
    if bias is not None:
        check_shape("bias", bias, (n.out_channels,))
    if mask is not None:
        check_shape("mask", mask, (n.batch, n.offset_groups * taps, *n.out))


def _why_not_native(input: Tensor) -> str | None:
    """Why the native kernels cannot compute this call, or None if they can."""
    on_cuda = input.is_cuda or _native.is_emulated()
    return _native.why_not_native(input, (cuda if on_cuda else cpu).DTYPES)


# The output and the gradient of the input have the memory format of the input, all other results are contiguous.


def _forward_fake(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Tensor:
    return empty_output(input, (input.shape[0], weight.shape[0], offset.shape[2], offset.shape[3]))


_forward = _library.define(
    "deform_conv2d(Tensor input, Tensor offset, Tensor weight, Tensor? bias, Tensor? mask, int[2] stride, "
    "int[2] padding, int[2] dilation) -> Tensor",
    cpu=cpu.forward,
    cuda=cuda.forward,
    fake=_forward_fake,
)


def _backward_fake(
    grad: Tensor,
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    needed: tuple[bool, bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        empty_output(input, input.shape) if needed[0] else input.new_empty(0),
        offset.new_empty(offset.shape if needed[1] else (0,)),
        weight.new_empty(weight.shape if needed[2] else (0,)),
        mask.new_empty(mask.shape) if needed[3] and mask is not None else offset.new_empty(0),
    )


# `needed` says for input, offset, weight and mask which gradients to compute; the others are empty, of shape (0,).
_backward = _library.define(
    "deform_conv2d_backward(Tensor grad, Tensor input, Tensor offset, Tensor weight, Tensor? mask, int[2] stride, "
    "int[2] padding, int[2] dilation, bool[4] needed) -> (Tensor, Tensor, Tensor, Tensor)",
    cpu=cpu.backward,
    cuda=cuda.backward,
    fake=_backward_fake,
)


class _DeformConv2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        offset: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        mask: Tensor | None,
        stride: Pair,
        padding: Pair,
        dilation: Pair,
    ) -> Tensor:
        ctx.save_for_backward(input, offset, weight, mask)
        ctx.geometry = (stride, padding, dilation)
        return _forward(input, offset, weight, bias, mask, stride, padding, dilation)

    @staticmethod
    @_library.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        input, offset, weight, mask = ctx.saved_tensors
        needs = ctx.needs_input_grad
        needed = [needs[0], needs[1], needs[2], needs[4]]
        grads: list[Tensor | None] = [None] * 4
        if any(needed):
            found = _backward(grad, input, offset, weight, mask, *ctx.geometry, needed)
            grads = [g if need else None for g, need in zip(found, needed, strict=True)]
        grad_bias = grad.sum((0, 2, 3)) if needs[3] else None
        return grads[0], grads[1], grads[2], grad_bias, grads[3], None, None, None


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    mask: Tensor | None = None,
    *,
    backend: _native.Backend = "auto",
) -> Tensor:
    """Deformable convolution with the signature and semantics of `torchvision.ops.deform_conv2d`.

    input: (B, Cin, H, W), float32, float64, float16 or bfloat16.
    offset: (B, 2 * offset groups * kH * kW, outH, outW), pixels; channels 2 t and 2 t + 1 of an offset group move
        tap t down and to the right. Samples outside the picture are zero, also those with NaN or infinite offsets.
    weight: (Cout, Cin // groups, kH, kW), dtype of `input`.
    bias: (Cout,), dtype of `input`, or None.
    stride, padding, dilation: an integer, or one for rows and one for columns.
    mask: (B, offset groups * kH * kW, outH, outW), factors of the samples, or None for ones.
    backend: "native" kernels, the "torch" reference, or "auto": native where possible.

    `offset` and `mask` have the dtype of `input`, or float32 beside a half dtype. Under autocast, `input`, `weight` and
    `bias` take the dtype of autocast, `offset` and `mask` keep theirs.

    On CUDA, products are torch's in the dtype of `input`, so float32 is rounded to TF32 where torch allows that for
    matrix products, and the gradients of `offset` and `mask` are as exact as that dtype; float64 runs the reference.
    The gradient of `input` is a sum in an order that varies, unless torch is asked for deterministic algorithms.

    Returns (B, Cout, outH, outW) in the dtype of `input`, channels-last if `input` is. Differentiable once in all five
    tensors. Raises TypeError and ValueError for arguments that do not fit each other, RuntimeError if "native" is asked
    for and not possible.
    """
    stride, padding, dilation = _pair("stride", stride), _pair("padding", padding), _pair("dilation", dilation)
    check_tensor("input", input)
    check_tensor("offset", offset)
    check_tensor("weight", weight)
    if bias is not None:
        check_tensor("bias", bias)
    if mask is not None:
        check_tensor("mask", mask)
    if (dtype := autocast_dtype(input)) is not None:
        input, offset, weight, bias, mask = _autocast(dtype, input, offset, weight, bias, mask)
    _check(input, offset, weight, bias, mask, stride, padding, dilation)
    if not _native.choose(backend, _why_not_native(input)):
        return deform_conv2d_reference(input, offset, weight, bias, stride, padding, dilation, mask)
    if _library.needs_gradient(input, offset, weight, bias, mask):
        return _DeformConv2d.apply(input, offset, weight, bias, mask, stride, padding, dilation)
    return _forward(input, offset, weight, bias, mask, stride, padding, dilation)


def _autocast(
    dtype: torch.dtype, input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    exact = coordinate_dtype(dtype)
    return (
        input.to(dtype),
        offset if offset.dtype == dtype else offset.to(exact),
        weight.to(dtype),
        None if bias is None else bias.to(dtype),
        mask if mask is None or mask.dtype == dtype else mask.to(exact),
    )
