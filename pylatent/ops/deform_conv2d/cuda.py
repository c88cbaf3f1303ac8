"""Deformable convolution on CUDA: kernels of ours gather and scatter tiles of columns, torch multiplies them.

A tile has the columns of some output pixels, counted over the batch, and stays in the L2 cache between the kernel and
the product. Products are torch's, in the dtype of the input: float32 is rounded to TF32 where torch allows that for
matrix products. The gradient of the columns has that dtype too, and so have the gradients of offset and mask its
precision. There is no kernel for float64.

The gradient of the input is a sum in an order that changes from run to run, unless deterministic algorithms are asked
for (`torch.use_deterministic_algorithms`): then it adds up as 64-bit integers, in steps of 2^-62 of its largest
possible value. All other results are the same in every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

from pylatent import _native
from pylatent.ops.deform_conv2d.layout import Layout
from pylatent.ops.deform_conv2d.sizes import Pair, empty_output, sizes

DTYPES = (torch.float32, torch.float16, torch.bfloat16)

_LEAST_TILE = 64  # pixels, of which a tile has a multiple
_L2_BYTES = 40 << 20  # an A100's, where torch does not say (before 2.6)


def forward(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> Tensor:
    n = sizes(input, offset, weight, stride, padding, dilation)
    out = empty_output(input, (n.batch, n.out_channels, *n.out))
    if out.numel() == 0:
        return out
    if input.numel() == 0:
        return out.zero_() if bias is None else out.copy_(bias[:, None, None].expand_as(out))
    call = _Call(Layout.of(n, input.dtype), input, offset, mask, stride, padding, dilation)
    kernel = call.layout.weight(weight).transpose(1, 2)
    # Pictures that are not channels-last have no common matrix: their rows are written apart, then transposed.
    whole = n.batch == 1 or out.stride(1) == 1
    target = out if whole else torch.empty_like(out, memory_format=torch.channels_last)
    rows = call.layout.rows(target)
    for first, end in call.tiles():
        columns = call.gather(first, end)
        _multiply(bias, columns, kernel, rows[:, first:end])
    return out if whole else out.copy_(target)


def backward(
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
    n = sizes(input, offset, weight, stride, padding, dilation)
    grad_input = empty_output(input, input.shape) if needed[0] else input.new_empty(0)
    grad_offset = offset.new_empty(offset.shape if needed[1] else (0,))
    grad_weight = weight.new_empty(weight.shape if needed[2] else (0,))
    grad_mask = offset.new_empty(0) if mask is None or not needed[3] else mask.new_empty(mask.shape)
    grads = (grad_input, grad_offset, grad_weight, grad_mask)
    if grad.numel() == 0 or input.numel() == 0:
        for result in grads:
            result.zero_()
        return grads
    layout = Layout.of(n, input.dtype)
    call = _Call(layout, input, offset, mask, stride, padding, dilation)
    rows, kernel = layout.rows(grad), layout.weight(weight)
    scatters = bool(needed[0] or needed[1] or grad_mask.numel())
    scale = total = None
    if needed[0]:
        if torch.are_deterministic_algorithms_enabled():
            scale = _fixed_point(grad, weight, mask, layout)
        total = layout.empty_pixels(input, torch.float32 if scale is None else torch.int64).zero_()
    results = [scale, total, grad_offset if needed[1] else None, grad_mask if grad_mask.numel() else None]
    tiles = list(call.tiles())
    parts = kernel.new_empty((len(tiles) if needed[2] else 0, *kernel.shape))
    for i, (first, end) in enumerate(tiles):
        part = rows[:, first:end]
        if scatters:
            columns = call.columns(first, end)
            _multiply(None, part, kernel, columns)
            call.scatter(first, end, columns, needed[2], results)
        else:
            columns = call.gather(first, end)
        if needed[2]:
            _multiply(None, part.transpose(1, 2), columns, parts[i])
    if total is not None:
        grad_input.copy_(layout.from_pixels(total if scale is None else total / scale))
    if needed[2]:
        grad_weight.copy_(layout.from_weight(parts[0] if len(tiles) == 1 else parts.sum(0)))
    return grads


def _multiply(bias: Tensor | None, a: Tensor, b: Tensor, out: Tensor) -> None:
    """out (groups, m, n) = a (groups, m, k) b (groups, k, n), plus a bias for each of the columns."""
    if bias is None:
        if len(out) == 1:
            torch.mm(a[0], b[0], out=out[0])
        else:
            torch.bmm(a, b, out=out)
    elif len(out) == 1:
        torch.addmm(bias, a[0], b[0], out=out[0])
    else:
        torch.baddbmm(bias.view(len(out), 1, -1), a, b, out=out)


def _fixed_point(grad: Tensor, weight: Tensor, mask: Tensor | None, layout: Layout) -> Tensor:
    """How many units a one has: a power of two with which no sum can overflow, on the device. NaN if a factor is NaN or
    infinite, so that all sums are NaN."""
    n = layout.n
    largest = grad.abs().amax().double() * weight.abs().amax() * (1 if mask is None else mask.abs().amax())
    bound = largest * (layout.outputs * n.taps * n.out[0] * n.out[1])
    scale = torch.exp2(torch.floor(62 - torch.log2(bound))).clamp(2.0**-126, 2.0**126)
    return torch.where(bound.isfinite(), scale, torch.nan).float()


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


@cache
def _tile_bytes(device: torch.device) -> int:
    """Of columns: half of the L2 cache, beside what they are made from."""
    if device.type != "cuda":
        return 1 << 20
    return getattr(torch.cuda.get_device_properties(device), "L2_cache_size", _L2_BYTES) // 2


class _Call:
    """What the tiles of one call share."""

    def __init__(
        self,
        layout: Layout,
        input: Tensor,
        offset: Tensor,
        mask: Tensor | None,
        stride: Pair,
        padding: Pair,
        dilation: Pair,
    ) -> None:
        self.layout = layout
        self.pixels = layout.n.batch * layout.n.out[0] * layout.n.out[1]
        self.tensors = (layout.pixels(input), offset.contiguous(), None if mask is None else mask.contiguous())
        self.shape = layout.shape(stride, padding, dilation)
        codes = [_native.DTYPE_CODES[t.dtype] for t in (input, offset, offset if mask is None else mask)]
        self.how = (codes, _native.device_index(input), _native.stream(input))
        row = layout.groups * layout.depth
        most = max(1, _tile_bytes(input.device) // (row * input.dtype.itemsize * _LEAST_TILE)) * _LEAST_TILE
        count = -(-self.pixels // most)  # of tiles, all of about one size
        self.tile = min(self.pixels, -(-self.pixels // (count * _LEAST_TILE)) * _LEAST_TILE)
        self.workspace = input.new_empty(row * self.tile)

    def tiles(self) -> Iterator[tuple[int, int]]:
        for first in range(0, self.pixels, self.tile):
            yield first, min(first + self.tile, self.pixels)

    def columns(self, first: int, end: int) -> Tensor:
        """(merged groups, pixels, depth), not filled; the same memory for every tile."""
        size = (self.layout.groups, end - first, self.layout.depth)
        return self.workspace[: size[0] * size[1] * size[2]].view(size)

    def gather(self, first: int, end: int) -> Tensor:
        columns = self.columns(first, end)
        addresses = map(_pointer, (*self.tensors, columns))
        _native.cuda_core().deform_conv2d_cuda_gather(*addresses, self.shape, (first, end - first), *self.how)
        return columns

    def scatter(self, first: int, end: int, columns: Tensor, keep: bool, results: list[Tensor | None]) -> None:
        """From the gradient of the columns; `keep`: the columns take its place. `results`: scale of the fixed point,
        gradients of input, offset and mask."""
        addresses = map(_pointer, (*self.tensors, columns))
        _native.cuda_core().deform_conv2d_cuda_scatter(
            *addresses, keep, *map(_pointer, results), self.shape, (first, end - first), *self.how
        )
