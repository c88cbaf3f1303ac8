"""The gated fusion of small tensors on a CPU, by torch's own operators, which autograd differentiates.

Next to products of some 100 µs all checks of the arguments and a Python function for the gradients take a tenth of the
time. What is asked here takes 2 µs, and 20 µs where the products have emptied the caches: it is asked in the cheapest
way, and what torch's operators refuse is left to them. In float32 these are eager torch's, in its order; in half
precision products of matrices are tried against its convolutions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from pylatent import _native
from pylatent.ops.gated_fusion import cpu, products
from pylatent.ops.gated_fusion.layout import in_layout, is_channels_last

# Elements of y from which the native kernels are faster, on a Zen 4. Several pictures in NCHW, in half precision, also
# from 2^18 in each: their pixels are not one matrix.
_LEAST, _LEAST_OF_HALF, _LEAST_OF_A_PICTURE = 3 << 17, 1 << 19, 1 << 18
_ONE = (1, 1)

# Private names, for what they save.
_is_tracing = getattr(torch._C, "_is_tracing", torch.jit.is_tracing)
_thnn_conv2d: Any = getattr(torch._C._nn, "thnn_conv2d", None)


def fuse(
    y: Tensor, s: Tensor, weight_y: Tensor, weight_s: Tensor, bias_y: Tensor | None, bias_s: Tensor | None
) -> Tensor | None:
    """`gated_fusion` of small tensors on a CPU that multiplies their dtype; None for others, and for what does not fit
    together. Without gradients, the gate is one native pass."""
    if not _native.is_plain():
        return None
    try:
        if not (y.is_cpu and s.is_cpu and weight_y.is_cpu and weight_s.is_cpu):
            return None
        batch, inputs, height, width = y.shape
        outputs, _, *kernel_y = weight_y.shape
        channels, scales, *kernel_s = weight_s.shape
        elements, dtype = batch * inputs * height * width, y.dtype
        multiply: Callable[..., Tensor] = torch.conv2d
        if channels != outputs or s.shape != (batch, scales, height, width) or s.dtype != dtype:
            return None
        if not elements or not scales:
            return None
        if dtype == torch.float32 and elements < _LEAST:
            if batch < 16 and torch.get_num_threads() == 1 and forward_ad._current_level < 0 and _is_slow_conv2d():
                multiply = _slow_conv2d
        elif dtype in cpu.HALF_DTYPES and elements < _LEAST_OF_HALF and cpu.product_dtype(dtype) == dtype:
            if batch > 1 and elements >= batch * _LEAST_OF_A_PICTURE and y.is_contiguous():
                return None
            if _is_for_matrices(y, weight_y):
                multiply = _matrices
        else:
            return None
        if kernel_y != [1, 1]:
            weight_y = _as_kernel(weight_y)
        if kernel_s != [1, 1]:
            weight_s = _as_kernel(weight_s)
        v = multiply(s, weight_s, bias_s)
        graded = v.requires_grad
        if graded:
            v = torch.sigmoid(v)  # and the memory of its argument is free for u, as in eager torch
        u = multiply(y, weight_y, bias_y)
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return None  # the checks name what is wrong
    if not graded:
        # Nobody may see what the native pass does in place, nor miss it.
        plain = type(u) is type(v) is Tensor and not _is_tracing()
        if plain and not u.requires_grad and forward_ad._current_level < 0:
            if outputs != inputs or not u.stride() == v.stride() == y.stride():
                last = is_channels_last(y)
                u, v = in_layout(u, last), in_layout(v, last)
            cpu.gate(u, v)
            return u
        v = torch.sigmoid(v)
    out = v * u
    if outputs == inputs and out.stride() == y.stride():
        return out
    return in_layout(out, is_channels_last(y))


@cache
def _is_slow_conv2d() -> bool:
    """Whether torch's 1x1 convolution of a few pictures in float32 on one thread is `_slow_conv2d`."""
    select, backends = (getattr(torch._C, name, None) for name in ("_select_conv_backend", "_ConvBackend"))
    if select is None or _thnn_conv2d is None:
        return False
    x, weight = (torch.empty(8, 8, 1, 1, dtype=torch.float32, device="cpu") for _ in range(2))
    return select(x, weight, None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1) == getattr(backends, "Slow2d", None)


def _slow_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What torch's convolution calls there, without its layers forward and backward: bit for bit the same."""
    return _thnn_conv2d(x, weight, _ONE, bias)


def _as_kernel(weight: Tensor) -> Tensor:
    if weight.dim() != 2:
        raise ValueError("a convolution would take it")
    return weight[:, :, None, None]


def _is_for_matrices(x: Tensor, weight: Tensor) -> bool:
    """Whether the pixels of `x` lie in one matrix, and a trial finds its product faster than the convolution."""
    last = not x.is_contiguous()
    if not (x.is_contiguous(memory_format=torch.channels_last) if last else x.shape[0] == 1):
        return False
    graded = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    return products.choose(_TRIALS, (x,), weight, graded, last) is _try_matrices


def _matrices(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution as a product of matrices."""
    weight = weight.flatten(1)
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != weight.dtype):
        raise ValueError("a product would take it")
    if x.shape[0] > 1 or not x.is_contiguous():
        return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
    columns = x.view(x.shape[1], -1)
    rows = torch.mm(weight, columns) if bias is None else torch.addmm(bias[:, None], weight, columns)
    return rows.view(1, -1, *x.shape[2:])


def _try_convolution(x: Tensor, weight: Tensor, graded: bool, channels_last: bool) -> None:
    """What torch's convolution costs with a bias, and with all gradients if `graded`."""
    with torch.no_grad():
        kernel, bias = weight.view(*weight.shape[:2], 1, 1), weight.new_zeros(weight.shape[0])
        out = torch.conv2d(x, kernel, bias)
        if graded:
            torch.ops.aten.convolution_backward.default(
                out, x, kernel, bias.shape, (1, 1), (0, 0), (1, 1), False, (0, 0), 1, (True, True, True)
            )


def _try_matrices(x: Tensor, weight: Tensor, graded: bool, channels_last: bool) -> None:
    """The same of products of matrices."""
    with torch.no_grad():
        out = _matrices(x, weight, weight.new_zeros(weight.shape[0]))
        if graded:
            products.matrix_gradients(out, x, weight, (True, True), channels_last)
            out.sum((0, 2, 3))


_TRIALS = (_try_convolution, _try_matrices)
