"""Deformable convolution on the CPU: native code samples tiles of columns, torch multiplies them by the weight.

The columns of a tile, all taps of a block of channels for some of the outputs, stay in the cache. Blocks are the outer
loop: the input with channels last and the weight with taps before channels are needed only a block at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pylatent import _native
from pylatent._products import product
from pylatent.ops.deform_conv2d.blocks import GROUP, Block, blocks
from pylatent.ops.deform_conv2d.sizes import Pair, coordinate_dtype, empty_output, sizes

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

_COLUMNS = 288  # of a block of channels: 32 channels for 3 x 3 taps
_LEAST_TILE, _MOST_TILE = 64, 1024
_WORKSPACE = 1 << 20  # bytes a thread; a tenth of the columns of a picture if that is more


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
    call = _Call(input, offset, weight, mask, stride, padding, dilation)
    n = call.n
    out = empty_output(input, (n.batch, n.out_channels, *n.out))
    # Blocks are summed in the dtype of the columns.
    total = out if out.dtype == call.dtype else torch.empty_like(out, dtype=call.dtype)
    if bias is None:
        total.zero_()
    else:
        total.copy_(bias[:, None, None])
    if out.numel() and input.numel():
        for block in blocks(n, _COLUMNS * call.threads):
            _add_block(call, input, weight, block, total)
    return out if total is out else out.copy_(total)


def _add_block(call: _Call, input: Tensor, weight: Tensor, block: Block, total: Tensor) -> None:
    kernel = call.taps_first(weight, block)
    pixels = call.empty_pixels(block)
    count = call.tile_size(kernel.numel() + pixels.numel(), 2 * kernel.shape[1] + block.output_count)
    columns = call.empty(count, kernel.shape[1])
    channels_last = not total.is_contiguous()
    for b in range(call.n.batch):
        call.transpose(input[b, block.of_input].flatten(1), pixels[:-1])
        result = total[b, block.outputs].flatten(1)
        for first, end in call.tiles(count):
            call.gather(b, block, first, end, pixels, columns)
            samples = columns if end - first == count else columns[: end - first]
            if block.depthwise:
                terms = samples.mul_(kernel).unflatten(1, (-1, block.channels))
                result[:, first:end].t().add_(terms.sum(1))
            elif channels_last:
                result[:, first:end].t().add_(product(samples, kernel))
            else:
                result[:, first:end].add_(product(kernel, samples))


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
    call = _Call(input, offset, weight, mask, stride, padding, dilation)
    needs_input, needs_offset, needs_weight, needs_mask = needed
    grads = _Gradients(
        empty_output(input, input.shape).zero_() if needs_input else input.new_empty(0),
        call.offset.new_zeros(offset.shape if needs_offset or needs_mask else 0),
        weight.new_zeros(weight.shape if needs_weight else 0),
        call.offset.new_zeros(mask.shape if needs_mask and mask is not None else 0),
    )
    if grad.numel() and input.numel():
        for block in blocks(call.n, _COLUMNS // 2 * call.threads):
            _backward_block(call, grad, input, weight, block, grads)
    return (
        grads.input,
        grads.offset.to(offset.dtype) if needs_offset else offset.new_empty(0),
        grads.weight,
        grads.mask.to(offset.dtype if mask is None else mask.dtype),
    )


class _Gradients(NamedTuple):
    """Empty where not wanted; `offset` is wanted with `mask` too."""

    input: Tensor
    offset: Tensor
    weight: Tensor
    mask: Tensor


def _backward_block(call: _Call, grad: Tensor, input: Tensor, weight: Tensor, block: Block, grads: _Gradients) -> None:
    kernel = call.taps_first(weight, block)
    grad_kernel = torch.zeros_like(kernel)
    pixels = call.empty_pixels(block)
    grad_pixels = torch.empty_like(pixels) if grads.input.numel() else None
    slices = min(call.threads, -(-block.channels // GROUP))
    dots_per_output = 4 * slices * call.n.taps * block.offset_groups(call.n) if grads.offset.numel() else 0
    fixed = 2 * (kernel.numel() + pixels.numel())
    count = call.tile_size(fixed, 2 * kernel.shape[1] + 3 * block.output_count + dots_per_output)
    dots = call.empty(count, dots_per_output)
    for b in range(call.n.batch):
        call.transpose(input[b, block.of_input].flatten(1), pixels[:-1])
        result = grad[b, block.outputs].flatten(1)
        if grad_pixels is not None:
            grad_pixels.zero_()
        for first, end in call.tiles(count):
            tile = result[:, first:end].to(call.dtype).contiguous()
            by_output = call.empty(end - first, block.output_count)
            call.transpose(tile, by_output)
            if grad_pixels is None and dots_per_output == 0:
                columns = call.empty(end - first, kernel.shape[1])
                call.gather(b, block, first, end, pixels, columns)
            else:
                columns = (
                    by_output.repeat(1, call.n.taps).mul_(kernel) if block.depthwise else product(by_output, kernel.t())
                )
                call.scatter(b, block, first, end, pixels, columns, grad_pixels, dots, grads, slices)
            if grads.weight.numel() and block.depthwise:
                by_tap = columns.unflatten(1, (call.n.taps, block.channels))
                grad_kernel.add_(by_tap.mul_(by_output[:, None]).sum(0).flatten())
            elif grads.weight.numel():
                grad_kernel.add_(product(tile, columns.t()))
        if grad_pixels is not None:
            call.transpose(grad_pixels[:-1], grads.input[b, block.of_input].flatten(1))
    if grads.weight.numel():
        by_tap = grad_kernel.view(kernel.shape[0], call.n.taps, block.channels)
        call.transpose(by_tap, block.of_weight(grads.weight))


class _Call:
    """What the blocks and tiles of one call share."""

    def __init__(
        self,
        input: Tensor,
        offset: Tensor,
        weight: Tensor,
        mask: Tensor | None,
        stride: Pair,
        padding: Pair,
        dilation: Pair,
    ) -> None:
        n = self.n = sizes(input, offset, weight, stride, padding, dilation)
        self.core = _native.core()
        self.threads = _native.thread_count()
        self.dtype = coordinate_dtype(input.dtype)
        self.code = _native.DTYPE_CODES[self.dtype]
        self.sizes = (n.height, n.width, *n.out, *n.kernel, *stride, *padding, *dilation)
        self.offset = offset.to(self.dtype).contiguous()
        self.mask = None if mask is None else mask.to(self.dtype).contiguous()
        self.outputs = n.out[0] * n.out[1]

    def tile_size(self, fixed: int, per_output: int) -> int:
        """Outputs of a tile, so that `fixed` elements and `per_output` for each output fit into the workspace."""
        size = self.dtype.itemsize
        columns = self.n.channels * self.n.taps * self.outputs * size
        room = max(_WORKSPACE * self.threads, columns // 10) // size - fixed
        most = min(_MOST_TILE * self.threads, room // per_output)
        return min(self.outputs, max(_LEAST_TILE, most // GROUP * GROUP))

    def tiles(self, count: int) -> Iterator[tuple[int, int]]:
        for first in range(0, self.outputs, count):
            yield first, min(first + count, self.outputs)

    def empty(self, *shape: int) -> Tensor:
        return self.offset.new_empty(shape)

    def empty_pixels(self, block: Block) -> Tensor:
        """(pixels + 1, channels of the block); the last row is zero."""
        pixels = self.empty(self.n.height * self.n.width + 1, block.channels)
        pixels[-1] = 0
        return pixels

    def taps_first(self, weight: Tensor, block: Block) -> Tensor:
        """(outputs of the group, or 1 if depthwise, taps * channels of the block)"""
        part = block.of_weight(weight)
        out = self.empty(part.shape[0], part.shape[2], part.shape[1])
        self.transpose(part, out)
        return out.flatten(1)

    def transpose(self, source: Tensor, target: Tensor) -> None:
        """target[..., k, j] = source[..., j, k]; torch copies what the native code does not take."""
        if source.dtype != self.dtype or target.dtype != self.dtype or source.stride(-1) != 1 or target.stride(-1) != 1:
            target.copy_(source.transpose(-1, -2))
            return
        count = source.shape[0] if source.dim() == 3 else 1
        self.core.deform_conv2d_transpose(
            self.code,
            (count, *source.shape[-2:]),
            source.data_ptr(),
            (source.stride(0), source.stride(-2)),
            target.data_ptr(),
            (target.stride(0), target.stride(-2)),
            self.threads,
        )

    def gather(self, b: int, block: Block, first: int, end: int, pixels: Tensor, columns: Tensor) -> None:
        """Fills `columns` (end - first, taps * channels of the block)."""
        self.core.deform_conv2d_forward(*self._arguments(b, block, first, end, pixels, columns), self.threads)

    def scatter(
        self,
        b: int,
        block: Block,
        first: int,
        end: int,
        pixels: Tensor,
        columns: Tensor,
        grad_pixels: Tensor | None,
        dots: Tensor,
        grads: _Gradients,
        slices: int,
    ) -> None:
        """Replaces the gradients in `columns` by the columns; adds to `grad_pixels`, `grads.offset`, `grads.mask`."""
        self.core.deform_conv2d_backward(
            *self._arguments(b, block, first, end, pixels, columns),
            0 if grad_pixels is None else grad_pixels.data_ptr(),
            dots.data_ptr(),
            _address(grads.offset, b),
            _address(grads.mask, b),
            slices,
            self.threads,
        )

    def _arguments(
        self, b: int, block: Block, first: int, end: int, pixels: Tensor, columns: Tensor
    ) -> tuple[object, ...]:
        part = (self.n.channels // self.n.offset_groups, block.first, block.channels, first, end - first)
        mask = 0 if self.mask is None else _address(self.mask, b)
        addresses = (pixels.data_ptr(), _address(self.offset, b), mask, columns.data_ptr())
        return self.code, self.sizes, part, *addresses


def _address(tensor: Tensor, b: int) -> int:
    """Of picture b of a contiguous tensor; 0 if the tensor is empty."""
    return tensor.data_ptr() + b * tensor.stride(0) * tensor.element_size() if tensor.numel() else 0
