"""The gated fusion on the CPU: torch's matrix products, and native passes over their results."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from pylatent import _native
from pylatent.ops._gated_fusion_layout import (
    empty_output,
    empty_sums,
    in_layout,
    is_channels_last,
    pixel_rows,
)

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

# Channels-last pixels multiplied at a time, so that what lies between product and output stays in the cache.
_TILE_PIXELS = 2048


@cache
def product_dtype(dtype: torch.dtype) -> torch.dtype:
    """What the matrix products are computed in: half dtypes only where the CPU multiplies them.

    Elsewhere torch converts them one by one: 30 times slower (float16, 192 x 192 x 1536, Zen 5) than float32.
    """
    if dtype == torch.float16 and not torch.ops.mkldnn._is_mkldnn_fp16_supported():
        return torch.float32
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32
    return dtype


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
    out = empty_output(y, channels, dtype, last)
    gate = torch.empty_like(out) if save else y.new_empty(0)
    outs = _tiles(out, last)
    if not outs:
        return out, gate
    in_place = work == dtype
    spare_u = None if in_place else outs[0].new_empty(outs[0].shape, dtype=work)
    spare_v = None if in_place and save else outs[0].new_empty(outs[0].shape, dtype=work)
    weight_y, weight_s = weight_y.to(work), weight_s.to(work)
    bias_y, bias_s = (None if b is None else b.contiguous() for b in (bias_y, bias_s))
    gates = _tiles(gate, last) if save else outs
    ys, ss = (_tiles(in_layout(x, last), last) for x in (y, s))
    for y_tile, s_tile, out_tile, gate_tile in zip(ys, ss, outs, gates, strict=True):
        u = _multiply(y_tile, weight_y, last, out_tile if spare_u is None else spare_u[: len(out_tile)])
        v = _multiply(s_tile, weight_s, last, gate_tile if spare_v is None else spare_v[: len(out_tile)])
        _native.core().gated_fusion_forward(
            u.data_ptr(),
            v.data_ptr(),
            _native.DTYPE_CODES[work],
            _pointer(bias_y),
            _pointer(bias_s),
            out_tile.data_ptr(),
            gate_tile.data_ptr() if save else 0,
            _native.DTYPE_CODES[dtype],
            *out_tile.shape,
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
    return grad_u, grad_v, grad.new_empty(0) if partial is None else partial.sum(1)


def _tiles(x: Tensor, channels_last: bool) -> tuple[Tensor, ...]:
    """(rows, columns) views of `x`: pixels by channels, or the channels by pixels of each picture."""
    return pixel_rows(x).split(_TILE_PIXELS) if channels_last else x.flatten(2).unbind(0)


def _multiply(tile: Tensor, weight: Tensor, channels_last: bool, out: Tensor) -> Tensor:
    tile = tile.to(weight.dtype)
    return torch.mm(tile, weight.t(), out=out) if channels_last else torch.mm(weight, tile, out=out)


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
