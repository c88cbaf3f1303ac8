"""Bits of a quantised residual under a zero-mean Gaussian (Minnen et al. 2018, arXiv 1809.02736, section 3).

    sigma = max(scale, 0.11)
    p     = Phi((1/2 - |q|) / sigma) - Phi((-1/2 - |q|) / sigma)
    bits  = -log2(max(p, 1e-9))

Values and gradients are those of CompressAI's `GaussianConditional` with the mean subtracted. Both bounds pass a
gradient where the value lies above the bound, or where a step against the gradient would raise it.

Fused: one pass forward, one pass backward, which computes everything again from q and scale. Densities wider than 8
are integrated by a series, where the difference of float32 Phis would lose digits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pylatent import _library, _native
from pylatent._bounds import lower_bound
from pylatent._checks import check_dtype, check_same_device, check_shape, check_tensor
from pylatent.ops._autocast import without_autocast
from pylatent.ops._elementwise import like

SCALE_BOUND = 0.11
LIKELIHOOD_BOUND = 1e-9
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_NATIVE_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def gaussian_bits_reference(q: Tensor, scales: Tensor) -> Tensor:
    """The definition, in plain torch: float64 for float64 inputs, else float32."""
    dtype = _bits_dtype(q)
    with without_autocast(q):
        sigma = lower_bound(scales.to(dtype), SCALE_BOUND)
        t = torch.abs(q.to(dtype))
        to_erfc = -(0.5**0.5)
        likelihood = 0.5 * (torch.erfc((0.5 - t) / sigma * to_erfc) - torch.erfc((-0.5 - t) / sigma * to_erfc))
        return -torch.log2(lower_bound(likelihood, LIKELIHOOD_BOUND))


def _bits_dtype(q: Tensor) -> torch.dtype:
    return torch.float64 if q.dtype == torch.float64 else torch.float32


def _check(q: Tensor, scales: Tensor) -> None:
    for name, tensor in (("q", q), ("scales", scales)):
        check_tensor(name, tensor)
        check_dtype(name, tensor, _DTYPES)
    check_shape("scales", scales, q.shape)
    check_same_device("scales", scales, "q", q)


def _forward_cpu(q: Tensor, scales: Tensor) -> Tensor:
    bits = torch.empty_like(q, dtype=torch.float32)
    q, scales = like(bits, q), like(bits, scales)
    _native.core().gaussian_bits_forward(
        q.data_ptr(), scales.data_ptr(), bits.data_ptr(), q.numel(), _code(q), _native.thread_count()
    )
    return bits


def _forward_cuda(q: Tensor, scales: Tensor) -> Tensor:
    bits = torch.empty_like(q, dtype=torch.float32)
    q, scales = like(bits, q), like(bits, scales)
    _native.cuda_core().gaussian_bits_cuda_forward(
        q.data_ptr(),
        scales.data_ptr(),
        bits.data_ptr(),
        q.numel(),
        _code(q),
        _native.device_index(q),
        _native.stream(q),
    )
    return bits


def _forward_fake(q: Tensor, scales: Tensor) -> Tensor:
    return torch.empty_like(q, dtype=torch.float32)


def _backward_cpu(grad: Tensor, q: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    grad_q, grad_scales = torch.empty_like(q), torch.empty_like(q)
    grad, q, scales = like(grad_q, grad), like(grad_q, q), like(grad_q, scales)
    _native.core().gaussian_bits_backward(
        grad.data_ptr(),
        q.data_ptr(),
        scales.data_ptr(),
        grad_q.data_ptr(),
        grad_scales.data_ptr(),
        q.numel(),
        _code(q),
        _native.thread_count(),
    )
    return grad_q, grad_scales


def _backward_cuda(grad: Tensor, q: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    grad_q, grad_scales = torch.empty_like(q), torch.empty_like(q)
    grad, q, scales = like(grad_q, grad), like(grad_q, q), like(grad_q, scales)
    _native.cuda_core().gaussian_bits_cuda_backward(
        grad.data_ptr(),
        q.data_ptr(),
        scales.data_ptr(),
        grad_q.data_ptr(),
        grad_scales.data_ptr(),
        q.numel(),
        _code(q),
        _native.device_index(q),
        _native.stream(q),
    )
    return grad_q, grad_scales


def _backward_fake(grad: Tensor, q: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(q)


def _code(tensor: Tensor) -> int:
    return _native.DTYPE_CODES[tensor.dtype]


_forward = _library.define(
    "gaussian_bits(Tensor q, Tensor scales) -> Tensor", cpu=_forward_cpu, cuda=_forward_cuda, fake=_forward_fake
)
_backward = _library.define(
    "gaussian_bits_backward(Tensor grad, Tensor q, Tensor scales) -> (Tensor, Tensor)",
    cpu=_backward_cpu,
    cuda=_backward_cuda,
    fake=_backward_fake,
)


class _GaussianBits(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q: Tensor, scales: Tensor) -> Tensor:
        ctx.save_for_backward(q, scales)
        return _forward(q, scales)

    @staticmethod
    @_library.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return _backward(grad, *ctx.saved_tensors)


def gaussian_bits(q: Tensor, scales: Tensor, *, backend: _native.Backend = "auto") -> Tensor:
    """Bits of each element of `q` under N(0, scales^2) integrated over unit bins, with gradients to both.

    `q` (any shape) is the residual: rounded, relaxed or with noise added; `scales` has its shape. Both may be float32,
    bfloat16 or float16, of which different ones meet in the wider dtype; then the result is float32. float64 gives
    float64, in plain torch. Gradients are not differentiable again.
    """
    _check(q, scales)
    if q.dtype != scales.dtype:
        dtype = torch.promote_types(q.dtype, scales.dtype)
        q, scales = q.to(dtype), scales.to(dtype)
    if not _native.choose(backend, _native.why_not_native(q, _NATIVE_DTYPES)):
        return gaussian_bits_reference(q, scales)
    if _library.needs_gradient(q, scales):
        return _GaussianBits.apply(q, scales)
    return _forward(q, scales)
