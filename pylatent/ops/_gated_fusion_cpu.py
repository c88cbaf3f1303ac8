"""The gated fusion on the CPU: torch's matrix products, and native passes over their results."""

from __future__ import annotations

import threading
from functools import cache

import torch
from torch import Tensor

from pylatent import _native
from pylatent.ops._gated_fusion_layout import (
    HALF_DTYPES,
    empty_output,
    empty_sums,
    in_layout,
    is_channels_last,
    sum_dtype,
)
from pylatent.ops._products import has_onednn, product

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

# Channels-last pixels multiplied at a time, so that what lies between product and output stays in the cache.
_TILE_PIXELS = 2048
# Bytes of a workspace that is kept. To give a megabyte back to the system after every call and have it mapped and
# cleared again took a tenth of the call (192 channels, 32 x 48, one thread).
_KEPT_BYTES = 16 << 20


class _Workspace(threading.local):
    """Where a tile of products waits for its pass: those of the last call, reused while shape and dtype stay."""

    key: tuple[object, ...] = ()
    tensors: tuple[Tensor, ...] = ()

    def get(self, count: int, tile: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """`count` tensors of the shape of `tile`."""
        key = (count, tile.shape, dtype)
        if key == self.key:
            return self.tensors
        with torch.inference_mode(False):  # else it could not be written to outside of inference mode
            tensors = torch.empty((count, *tile.shape), dtype=dtype).unbind(0)
        if count * tile.numel() * dtype.itemsize <= _KEPT_BYTES:
            self.key, self.tensors = key, tensors
        return tensors


_workspace = _Workspace()


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
    out = empty_output(y, channels, dtype, last)
    gate = torch.empty_like(out) if save else y.new_empty(0)
    if out.numel() == 0:
        return out, gate
    outs, gates = _tiles(out, last), _tiles(gate, last) if save else ()
    # torch.mm's products go where out and gate will be, or into a workspace: in another dtype, or where the gate is not
    # kept. oneDNN's bring their own memory.
    here = work == dtype and not has_onednn(work)
    spare = () if (here and save) or has_onednn(work) else _workspace.get(1 if here else 2, outs[0], work)
    if work != dtype:
        weight_y, weight_s = weight_y.to(work), weight_s.to(work)
    bias_y, bias_s = (None if b is None else b.contiguous() for b in (bias_y, bias_s))
    inside: tuple[Tensor | None, Tensor | None] = (None, None)
    if work in HALF_DTYPES:  # the product adds its bias: a sum of two rounded to half would lose twice what it must
        inside, bias_y, bias_s = (bias_y, bias_s), None, None
    native, threads = _native.core().gated_fusion_forward, _native.thread_count()
    ys, ss = _tiles(in_layout(y, last), last), _tiles(in_layout(s, last), last)
    for i, out_tile in enumerate(outs):
        rows, columns = out_tile.shape
        if has_onednn(work):
            u, v = _product(ys[i], weight_y, last), _product(ss[i], weight_s, last)
        else:
            u = _multiply(ys[i], weight_y, inside[0], last, out_tile if here else _first(spare[1], rows))
            v = _multiply(ss[i], weight_s, inside[1], last, gates[i] if save and here else _first(spare[0], rows))
        native(
            u.data_ptr(),
            v.data_ptr(),
            _native.DTYPE_CODES[work],
            _pointer(bias_y),
            _pointer(bias_s),
            out_tile.data_ptr(),
            gates[i].data_ptr() if save else 0,
            _native.DTYPE_CODES[dtype],
            rows,
            columns,
            channels,
            last,
            threads,
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
    return grad_u, grad_v, grad.new_empty(0, dtype=sum_dtype(out.dtype)) if partial is None else partial.sum(1)


def _tiles(x: Tensor, channels_last: bool) -> tuple[Tensor, ...]:
    """(rows, columns) views of `x`: pixels by channels, or the channels by pixels of each picture."""
    batch, channels, height, width = x.shape
    if not channels_last:
        return x.view(batch, channels, height * width).unbind(0) if batch > 1 else (x.view(channels, height * width),)
    rows = x.as_strided((batch * height * width, channels), (channels, 1))
    return (rows,) if rows.shape[0] <= _TILE_PIXELS else rows.split(_TILE_PIXELS)


def _first(x: Tensor, rows: int) -> Tensor:
    return x if x.shape[0] == rows else x[:rows]


def _product(tile: Tensor, weight: Tensor, channels_last: bool) -> Tensor:
    """The product in new memory, by oneDNN."""
    tile = tile.to(weight.dtype)
    return product(tile, weight) if channels_last else product(weight, tile.t())


def _multiply(tile: Tensor, weight: Tensor, bias: Tensor | None, channels_last: bool, out: Tensor) -> Tensor:
    """The product, with the bias if there is one, written to `out`."""
    if tile.dtype != weight.dtype:
        tile = tile.to(weight.dtype)
    a, b = (tile, weight.t()) if channels_last else (weight, tile)
    if bias is None:
        return torch.mm(a, b, out=out)
    return torch.addmm(bias if channels_last else bias[:, None], a, b, out=out)


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
