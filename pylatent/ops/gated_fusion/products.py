"""1x1 convolutions on the CPU, and their gradients, by the fastest of torch's products, found by trying them.

No rule holds on every machine: in float32 oneDNN's linear layer is a fifth faster than its convolution on an AMD Zen 4
at 68x120, but slower on an Intel Sapphire Rapids at 14x14. The first call of each kind tries the products on
its own tensors, a few runs each, and later calls of that kind take the same one. A kind is what times depend on: dtype,
layout, channels, threads, and pixels up to the next power of two. Another product than eager torch's convolution must
be faster by a twentieth; where torch's deterministic algorithms are asked for, the convolution is always taken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pylatent import _library
from pylatent._products import has_onednn, is_on_cpu, product
from pylatent.ops.gated_fusion import layout as layout
from pylatent.ops.gated_fusion.layout import empty_output, in_layout, pixel_rows

Product = Callable[..., Any]
Gradients = tuple["Tensor | None", "Tensor | None"]

_MARGIN = 0.95  # of the time of the first product: what another one must stay below
_MOST_PIXELS = 4096  # to try products on
_RUNS = 5

_chosen: dict[tuple[object, ...], Product] = {}
_trying = threading.Lock()


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, channels_last: bool) -> Tensor:
    """The convolution of `x` (B, K, H, W), stored so, with `weight` (C, K) or (C, K, 1, 1), plus `bias` (C,), which is
    for half precision: (B, C, H, W), stored so, in new memory. float32 is not cast under autocast."""
    one = channels_last or x.shape[0] == 1  # all pixels lie in one matrix
    products: tuple[Product, ...] = (_convolution, _matrix if one else _pictures)
    if has_onednn(x.dtype):
        products = (*products, _linear if one else _linear_pictures)
    if x.dtype == torch.float64 or not x.numel():  # which oneDNN does not compute
        return (_matrix if one else _pictures)(x, weight, bias, channels_last)
    return choose(products, (x,), weight, None, channels_last)(x, weight, bias, channels_last)


def gradients(grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool], channels_last: bool) -> Gradients:
    """Of `convolve` without a bias, from the gradient of its result: those of `x` and `weight` that are needed."""
    # torch's convolution rounds to half precision before it adds up the pictures.
    if x.dtype != torch.float32 or not x.numel() or not grad.numel():
        return library_gradients(grad, x, weight, needs, channels_last)
    one = channels_last or x.shape[0] == 1
    products: tuple[Product, ...] = (_convolution_gradients, library_gradients)
    if one and has_onednn(x.dtype):  # elsewhere library_gradients calls torch.mm
        products = (*products, matrix_gradients)
    return choose(products, (grad, x), weight, needs, channels_last)(grad, x, weight, needs, channels_last)


def choose(
    products: tuple[Product, ...], inputs: tuple[Tensor, ...], weight: Tensor, option: object, channels_last: bool
) -> Product:
    """Of `products`, called as product(*inputs, weight, option, channels_last), the one for tensors of this kind."""
    x = inputs[0]
    batch, _, height, width = x.shape
    kind = (products, x.dtype, channels_last, weight.shape, option, (batch * height * width).bit_length())
    key = (*kind, batch.bit_length(), torch.get_num_threads())
    chosen = _chosen.get(key)
    if chosen is None:
        # Two threads that tried at once would disturb each other, and a fork must not wait for a thread it lacks. The
        # times of fake tensors say nothing, and what counts or records operators must not see the trials.
        deterministic = torch.are_deterministic_algorithms_enabled()
        if deterministic or _library.is_watched(inputs) or not _trying.acquire(blocking=False):
            return products[0]
        try:
            chosen = _chosen[key] = _fastest(products, inputs, weight, option, channels_last)
        finally:
            _trying.release()
    return chosen


def _fastest(
    products: tuple[Product, ...], inputs: tuple[Tensor, ...], weight: Tensor, option: object, channels_last: bool
) -> Product:
    inputs = tuple(_part(x, channels_last) for x in inputs)
    # On one thread its own clock, which other processes do not disturb.
    alone = torch.get_num_threads() == 1 and time.get_clock_info("thread_time").resolution < 1e-6
    now = time.thread_time if alone else time.perf_counter
    best = dict.fromkeys(products, float("inf"))
    for run in range(_RUNS + 1):
        for call in products:
            start = now()
            call(*inputs, weight, option, channels_last)
            if run:  # the first one compiles
                best[call] = min(best[call], now() - start)
    fastest = min(products, key=best.__getitem__)
    return fastest if best[fastest] < _MARGIN * best[products[0]] else products[0]


def _part(x: Tensor, channels_last: bool) -> Tensor:
    """At most about _MOST_PIXELS of `x`, stored so."""
    _, _, height, width = x.shape
    if height * width <= _MOST_PIXELS:
        return x[: _MOST_PIXELS // (height * width)]
    return in_layout(x[:1, :, : max(1, _MOST_PIXELS // width)], channels_last)


def library_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool], channels_last: bool
) -> Gradients:
    """By the products that torch.compile can trace."""
    if (channels_last or x.shape[0] == 1) and not (is_on_cpu(x) and has_onednn(x.dtype)):
        return matrix_gradients(grad, x, weight, needs, channels_last)
    to_x = layout.convolve(grad, weight.flatten(1).t(), channels_last) if needs[0] else None
    return to_x, layout.weight_gradient(grad, x, channels_last).view(weight.shape) if needs[1] else None


def matrix_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool], channels_last: bool
) -> Gradients:
    """By torch.mm, where all pixels lie in one matrix."""
    batch, inputs, height, width = x.shape
    to_x: Tensor | None = None
    to_weight: Tensor | None = None
    if channels_last:
        rows = pixel_rows(grad)
        if needs[0]:
            to_x = _from_rows(torch.mm(rows, weight.flatten(1)), batch, height, width)
        if needs[1]:
            to_weight = torch.mm(rows.t(), pixel_rows(x)).view(weight.shape)
    else:
        columns = grad.view(grad.shape[1], height * width)
        if needs[0]:
            to_x = torch.mm(weight.flatten(1).t(), columns).view_as(x)
        if needs[1]:
            to_weight = torch.mm(columns, x.view(inputs, height * width).t()).view(weight.shape)
    return to_x, to_weight


def _convolution_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool], channels_last: bool
) -> Gradients:
    kernel = weight.view(*weight.shape[:2], 1, 1)
    to_x, to_weight, _ = torch.ops.aten.convolution_backward.default(
        grad, x, kernel, None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1, (*needs, False)
    )
    return to_x, to_weight.view(weight.shape) if needs[1] else None


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, channels_last: bool) -> Tensor:
    """oneDNN's product, for float32, whose bias is added elsewhere."""
    batch, inputs, height, width = x.shape
    if channels_last:
        return _from_rows(product(pixel_rows(x), weight.flatten(1)), batch, height, width)
    return product(weight.flatten(1), x.view(inputs, height * width).t()).view(1, weight.shape[0], height, width)


def _linear_pictures(x: Tensor, weight: Tensor, bias: Tensor | None, channels_last: bool) -> Tensor:
    """`_linear` a picture, for pictures that are not channels-last."""
    out, weight = empty_output(x, weight.shape[0], x.dtype, channels_last), weight.flatten(1)
    for picture, to in zip(x.flatten(2).unbind(0), out.flatten(2).unbind(0), strict=True):
        to.copy_(product(weight, picture.t()))
    return out


def _matrix(x: Tensor, weight: Tensor, bias: Tensor | None, channels_last: bool) -> Tensor:
    """torch.mm, written to a tensor of ours: autocast leaves it alone."""
    batch, inputs, height, width = x.shape
    weight = weight.flatten(1)
    if channels_last:
        return _from_rows(_multiply(pixel_rows(x), weight.t(), bias), batch, height, width)
    bias = None if bias is None else bias[:, None]
    return _multiply(weight, x.view(inputs, height * width), bias).view(1, weight.shape[0], height, width)


def _pictures(x: Tensor, weight: Tensor, bias: Tensor | None, channels_last: bool) -> Tensor:
    """`_matrix` a picture."""
    out, weight = empty_output(x, weight.shape[0], x.dtype, channels_last), weight.flatten(1)
    bias = None if bias is None else bias[:, None]
    for picture, to in zip(x.flatten(2).unbind(0), out.flatten(2).unbind(0), strict=True):
        _multiply(weight, picture, bias, to)
    return out


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, channels_last: bool) -> Tensor:
    """torch's convolution, by the name that autocast leaves alone."""
    if weight.dim() == 2:
        weight = weight.reshape(*weight.shape, 1, 1)
    out = torch.convolution(x, weight, bias, (1, 1), (0, 0), (1, 1), False, (0, 0), 1)
    return in_layout(out, channels_last)


def _multiply(a: Tensor, b: Tensor, bias: Tensor | None, out: Tensor | None = None) -> Tensor:
    if out is None:
        out = a.new_empty((a.shape[0], b.shape[1]))
    return torch.mm(a, b, out=out) if bias is None else torch.addmm(bias, a, b, out=out)


def _from_rows(rows: Tensor, batch: int, height: int, width: int) -> Tensor:
    """(B H W, C) as channels-last (B, C, H, W)."""
    channels = rows.shape[1]
    strides = (height * width * channels, 1, width * channels, channels)
    return rows.as_strided((batch, channels, height, width), strides)
