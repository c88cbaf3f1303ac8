"""Neighbourhood attention in two dimensions, with relative position bias (Hassani et al. 2023, arXiv 2204.07143;
dilated: Hassani and Shi 2022, arXiv 2209.15001).

    out[i, j] = sum over the window of softmax(scale q[i, j] . k[m, n] + bias[m - i + K - 1, n - j + K - 1]) v[m, n]

The window of a query are the K x K keys around it, shifted inwards at the borders, never cut or padded: on an axis of
length L its first key is clamp(i - K // 2, 0, L - K). With a dilation d, the elements of one residue mod d along each
axis are a sequence of their own: d x d times the above on every d-th row and column, offsets in units of d. Semantics
and bias are NATTEN's.

Fused: scores, softmax and sum in one pass over rows of windows, with no copies of windows; backward computes the
probabilities again from the logarithms of their sums. On the CPU, sums of all gradients have a fixed order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pylatent import _library, _native
from pylatent._checks import (
    check_dtype,
    check_rank,
    check_same_device,
    check_same_dtype,
    check_shape,
    check_tensor,
)
from pylatent.ops.neighborhood_attention.tiles import attend_in_tiles

KERNELS = (3, 5, 7, 9, 11, 13)
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_NATIVE_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_CUDA_DIM = 32  # csrc/neighborhood_attention: elements of a head that a CUDA thread has registers for


def neighborhood_attention_reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None = None,
    *,
    kernel: int = 7,
    dilation: int = 1,
    scale: float | None = None,
) -> Tensor:
    """The definition, in plain torch, in the dtype of `q`."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if dilation == 1:
        return attend_in_tiles(q, k, v, bias, kernel, scale)
    rows = []
    for i in range(dilation):
        row = []
        for j in range(dilation):
            of_q, of_k, of_v = (t[:, i::dilation, j::dilation] for t in (q, k, v))
            row.append(attend_in_tiles(of_q, of_k, of_v, bias, kernel, scale))
        rows.append(_interleave(row, 2, q.shape[2]))
    return _interleave(rows, 1, q.shape[1])


def _interleave(parts: list[Tensor], axis: int, length: int) -> Tensor:
    """parts[i][n] becomes element n * len(parts) + i of the axis."""
    order = torch.cat([torch.arange(i, length, len(parts)) for i in range(len(parts))]).argsort()
    return torch.cat(parts, axis).index_select(axis, order.to(parts[0].device))


def _check(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, kernel: int, dilation: int) -> None:
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        check_tensor(name, tensor)
        check_dtype(name, tensor, _DTYPES)
    check_rank("q", q, ("B", "H", "W", "heads", "D"))
    for name, tensor in (("k", k), ("v", v)):
        check_shape(name, tensor, q.shape)
        check_same_dtype(name, tensor, "q", q)
        check_same_device(name, tensor, "q", q)
    if kernel not in KERNELS:
        raise ValueError(f"`kernel` must be odd and between 3 and 13, got {kernel}")
    if dilation < 1:
        raise ValueError(f"`dilation` must be at least 1, got {dilation}")
    least = kernel * dilation
    if q.shape[1] < least or q.shape[2] < least:
        raise ValueError(
            f"`q` must have at least kernel * dilation = {least} rows and columns, got {q.shape[1]} x {q.shape[2]}; "
            "pad it, or use a smaller kernel or dilation"
        )
    if q.shape[4] < 1:
        raise ValueError(f"`q` must have heads of at least 1 element, got shape {tuple(q.shape)}")
    if bias is not None:
        check_tensor("bias", bias)
        check_dtype("bias", bias, _DTYPES)
        check_shape("bias", bias, (q.shape[3], 2 * kernel - 1, 2 * kernel - 1))
        check_same_device("bias", bias, "q", q)


def _why_not_native(q: Tensor) -> str | None:
    on_cuda = q.is_cuda or _native.is_emulated()
    if on_cuda and q.shape[4] > _CUDA_DIM:
        return f"the CUDA kernels take heads of at most {_CUDA_DIM} elements, not {q.shape[4]}"
    return _native.why_not_native(q, _NATIVE_DTYPES)


def _forward_cpu(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, kernel: int, dilation: int, scale: float | None
) -> tuple[Tensor, Tensor]:
    q, k, v, bias = _addressable(q, k, v, bias)
    out, lse = _forward_fake(q, k, v, bias, kernel, dilation, scale)
    _native.core().neighborhood_attention_forward(
        *_sizes(q, k, v, kernel, dilation, scale), _addresses(q, k, v, bias, out, lse), _native.thread_count()
    )
    return out, lse


def _forward_cuda(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, kernel: int, dilation: int, scale: float | None
) -> tuple[Tensor, Tensor]:
    q, k, v, bias = _addressable(q, k, v, bias)
    out, lse = _forward_fake(q, k, v, bias, kernel, dilation, scale)
    _native.cuda_core().neighborhood_attention_cuda_forward(
        *_sizes(q, k, v, kernel, dilation, scale),
        _addresses(q, k, v, bias, out, lse),
        _native.device_index(q),
        _native.stream(q),
    )
    return out, lse


def _forward_fake(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, kernel: int, dilation: int, scale: float | None
) -> tuple[Tensor, Tensor]:
    """The result and, for each query, the logarithm of the sum of the exponentials of its scores."""
    batch, height, width, heads, _ = q.shape
    return q.new_empty(q.shape), q.new_empty((batch, heads, height, width), dtype=torch.float32)


def _backward_cpu(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    lse: Tensor,
    kernel: int,
    dilation: int,
    scale: float | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    q, k, v, bias = _addressable(q, k, v, bias)
    grads = _backward_fake(grad, q, k, v, bias, lse, kernel, dilation, scale)
    grad, lse = grad.contiguous(), lse.contiguous()
    _native.core().neighborhood_attention_backward(
        *_sizes(q, k, v, kernel, dilation, scale),
        _addresses(q, k, v, bias, grad, lse, *grads[:3], None if bias is None else grads[3]),
        _native.thread_count(),
    )
    return grads


def _backward_cuda(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    lse: Tensor,
    kernel: int,
    dilation: int,
    scale: float | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    q, k, v, bias = _addressable(q, k, v, bias)
    grads = _backward_fake(grad, q, k, v, bias, lse, kernel, dilation, scale)
    grad, lse = grad.contiguous(), lse.contiguous()
    sizes = _sizes(q, k, v, kernel, dilation, scale)
    core = _native.cuda_core()
    delta = torch.empty_like(lse)
    rows = 0 if bias is None else core.neighborhood_attention_cuda_blocks(sizes[0])
    sums = lse.new_empty((rows, (2 * kernel - 1) ** 2))  # of each block of keys, in a fixed order
    core.neighborhood_attention_cuda_backward(
        *sizes,
        _addresses(q, k, v, bias, grad, lse, *grads[:3], None if bias is None else grads[3]),
        delta.data_ptr(),
        sums.data_ptr(),
        _native.device_index(q),
        _native.stream(q),
    )
    return grads


def _backward_fake(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    lse: Tensor,
    kernel: int,
    dilation: int,
    scale: float | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v and bias: floats, none without a bias."""
    shape = (0,) if bias is None else bias.shape
    of_q, of_k, of_v = (q.new_empty(q.shape) for _ in range(3))
    return of_q, of_k, of_v, q.new_empty(shape, dtype=torch.float32)


def _addressable(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Heads as runs of elements, whatever the other strides; the bias as floats."""
    q, k, v = (t if t.stride(4) == 1 else t.contiguous() for t in (q, k, v))
    return q, k, v, None if bias is None else bias.float().contiguous()


def _sizes(
    q: Tensor, k: Tensor, v: Tensor, kernel: int, dilation: int, scale: float | None
) -> tuple[tuple[int, ...], list[tuple[int, ...]], float, int]:
    strides = [t.stride()[:4] for t in (q, k, v)]
    scale = q.shape[4] ** -0.5 if scale is None else scale
    return (*q.shape, kernel, dilation), strides, scale, _native.DTYPE_CODES[q.dtype]


def _addresses(*tensors: Tensor | None) -> list[int]:
    return [0 if t is None else t.data_ptr() for t in tensors]


_forward = _library.define(
    "neighborhood_attention(Tensor q, Tensor k, Tensor v, Tensor? bias, int kernel, int dilation, float? scale)"
    " -> (Tensor, Tensor)",
    cpu=_forward_cpu,
    cuda=_forward_cuda,
    fake=_forward_fake,
)
_backward = _library.define(
    "neighborhood_attention_backward(Tensor grad, Tensor q, Tensor k, Tensor v, Tensor? bias, Tensor lse, int kernel,"
    " int dilation, float? scale) -> (Tensor, Tensor, Tensor, Tensor)",
    cpu=_backward_cpu,
    cuda=_backward_cuda,
    fake=_backward_fake,
)


class _NeighborhoodAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, kernel: int, dilation: int, scale: float | None
    ) -> Tensor:
        out, lse = _forward(q, k, v, bias, kernel, dilation, scale)
        ctx.save_for_backward(q, k, v, bias, lse)
        ctx.window = kernel, dilation, scale
        return out

    @staticmethod
    @_library.once_differentiable
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        q, k, v, bias, lse = ctx.saved_tensors
        *grads, grad_bias = _backward(grad, q, k, v, bias, lse, *ctx.window)
        return *grads, None if bias is None else grad_bias.to(bias.dtype), None, None, None


def neighborhood_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None = None,
    *,
    kernel: int = 7,
    dilation: int = 1,
    scale: float | None = None,
    backend: _native.Backend = "auto",
) -> Tensor:
    """Each position attends to the `kernel` x `kernel` positions around it, `dilation` apart -> (B, H, W, heads, D).

    q, k, v: (B, H, W, heads, D), of one dtype: float32, float16, bfloat16, or float64 (in plain torch); any strides:
    the chunks of one projection need no copies. bias: (heads, 2 kernel - 1, 2 kernel - 1), of any of these dtypes, by
    the offset from query to key. kernel: odd, 3 to 13. H and W must be at least kernel * dilation (ValueError). scale:
    1 / sqrt(D) by default. The result is in the dtype of `q`, computed in float32; autocast changes nothing. Gradients
    go to q, k, v and bias and are not differentiable again. CUDA kernels take heads of at most 32 elements.
    """
    _check(q, k, v, bias, kernel, dilation)
    if not _native.choose(backend, _why_not_native(q)):
        return neighborhood_attention_reference(q, k, v, bias, kernel=kernel, dilation=dilation, scale=scale)
    if _library.needs_gradient(q, k, v, bias):
        return _NeighborhoodAttention.apply(q, k, v, bias, kernel, dilation, scale)
    return _forward(q, k, v, bias, kernel, dilation, scale)[0]
