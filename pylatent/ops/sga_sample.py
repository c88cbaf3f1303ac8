"""Relaxed rounding by stochastic Gumbel annealing: SGA (Yang et al. 2020, arXiv 2006.04240) and the logits of SGA+
(Perugachi-Diaz et al. 2024, arXiv 2401.17789, sections 3.1 and 3.2).

    s     = softmax((l / tau + g) / tau)     over the candidates c, with Gumbel noise g; tau enters twice
    v_hat = sum of s c

With two classes the candidates are floor(v) and ceil(v), at distances w = |v - c|, and l(w) is

    atanh   -atanh(w)                        linear  log(1 - w)
    cosine  log(cos(pi w / 2)^2)             ssl     log sigmoid(-a logit(w))

with w at most 1 - 1e-5 (ssl: at least 1e-5 too; cosine: the square mapped to [1e-7, 1]). At an integer both candidates
are v and the derivative is 0: such an element stays where it is. With three classes the candidates are k - 1, k and
k + 1 around k = round(v), half to even, and l(w) is

    linear  n log(max(1 - r w, 1e-6))        cosine  log(cos(pi/2 min(r w, 1))^n + 1e-7)
    ssl     n log(max(sigmoid(-a logit(r w)), 1e-6)), r w in [1e-6, 1 - 1e-6]
    atanh   -n atanh(min(r w, 1 - 1e-5)): ours, the paper gives no atanh with three classes

Gradients flow through l alone: candidates, tau and noise are constants. tau below 0.05 counts as 0.05, since the
derivative has the factor 1 / tau^2.

Fused: everything, noise included, is one pass. Noise is drawn in the kernel by Philox4x32-10, a function of a key (two
int64 on the device, drawn by torch) and of the element's number, so a seed gives the same sample on every device, and a
replayed CUDA graph draws a new key. Only differences of Gumbels matter, and these are the logarithms of ratios of the
spacings of sorted uniforms. The forward pass also computes the derivative, and keeps it in place of v (float32; the
noise is never stored): computing everything again in the backward pass would take as long as the forward pass.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from pylatent import _library, _native
from pylatent._checks import check_dtype, check_same_device, check_shape, check_tensor
from pylatent.ops._elementwise import like

Method = Literal["atanh", "linear", "cosine", "ssl"]

LEAST_TAU = 0.05
_METHODS = ("atanh", "linear", "cosine", "ssl")
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_NATIVE_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# The parameters that a method has, with their defaults: the paper's best, and those of its code.
_PARAMETERS: dict[tuple[str, int], dict[str, float]] = {
    ("atanh", 2): {},
    ("linear", 2): {},
    ("cosine", 2): {},
    ("ssl", 2): {"a": 2.3},
    ("atanh", 3): {"r": 1.0, "n": 1.0},
    ("linear", 3): {"r": 0.98, "n": 1.5},
    ("cosine", 3): {"r": 0.98, "n": 2.0},
    ("ssl", 3): {"a": 1.4, "r": 0.933, "n": 1.5},
}


def sga_sample_reference(
    v: Tensor, tau: float | Tensor, noise: Tensor, *, method: Method = "ssl", **parameters: float
) -> Tensor:
    """The definition, in plain torch, with as many classes as `noise` (classes, *v.shape), which is Gumbel noise.

    Computes in float64 for float64 `v`, else in float32. `parameters` are all that the method has.
    """
    dtype = torch.float64 if v.dtype == torch.float64 else torch.float32
    x, noise = v.to(dtype), noise.to(dtype)
    if len(noise) == 2:
        candidates = torch.stack([torch.floor(x), torch.ceil(x)]).detach()
        logits = _two_class_logit(method, torch.abs(x - candidates), **parameters)
    else:
        nearest = torch.round(x).detach()
        candidates = torch.stack([nearest - 1, nearest, nearest + 1])
        logits = _three_class_logit(method, torch.abs(x - candidates), **parameters)
    if isinstance(tau, Tensor):
        tau = tau.detach().to(dtype).clamp_min(LEAST_TAU)
    else:
        tau = max(tau, LEAST_TAU)
    shares = torch.softmax((logits / tau + noise) / tau, 0)
    return torch.sum(shares * candidates, 0).to(v.dtype)


def _two_class_logit(method: Method, w: Tensor, a: float = 1.0) -> Tensor:
    w = w.clamp_max(1 - 1e-5)
    if method == "atanh":
        return -torch.atanh(w)
    if method == "linear":
        return torch.log1p(-w)
    if method == "cosine":
        return torch.log((1 - 1e-7) * torch.cos(w * (math.pi / 2)) ** 2 + 1e-7)
    return torch.nn.functional.logsigmoid(-a * torch.logit(w.clamp_min(1e-5)))


def _three_class_logit(method: Method, w: Tensor, r: float, n: float, a: float = 1.0) -> Tensor:
    x = r * w
    if method == "atanh":
        return -n * torch.atanh(x.clamp_max(1 - 1e-5))
    if method == "linear":
        return n * torch.log((1 - x).clamp_min(1e-6))
    if method == "cosine":
        return torch.log(torch.cos(x.clamp_max(1) * (math.pi / 2)).clamp_min(1e-20) ** n + 1e-7)
    return n * torch.log(torch.sigmoid(-a * torch.logit(x.clamp(1e-6, 1 - 1e-6))).clamp_min(1e-6))


def _check(v: Tensor, tau: float | Tensor, method: str, classes: int, noise: Tensor | None) -> None:
    check_tensor("v", v)
    check_dtype("v", v, _DTYPES)
    if method not in _METHODS:
        raise ValueError(f"`method` must be one of {', '.join(_METHODS)}, got {method!r}")
    if classes not in (2, 3):
        raise ValueError(f"`classes` must be 2 or 3, got {classes!r}")
    if isinstance(tau, Tensor):
        check_shape("tau", tau, ())
        check_dtype("tau", tau, (torch.float32,))
        check_same_device("tau", tau, "v", v)
    elif not 0 < tau < math.inf:
        raise ValueError(f"`tau` must be a positive number, got {tau!r}")
    if noise is not None:
        check_tensor("noise", noise)
        check_dtype("noise", noise, _DTYPES)
        check_shape("noise", noise, (classes, *v.shape))
        check_same_device("noise", noise, "v", v)


def _parameters(method: str, classes: int, given: dict[str, float | None]) -> dict[str, float]:
    """The method's parameters, of which `given` overrides the defaults."""
    parameters = dict(_PARAMETERS[method, classes])
    for name, value in given.items():
        if value is None:
            continue
        if name not in parameters:
            raise ValueError(f"`{name}` must be None for {method} with {classes} classes, got {value!r}")
        if not 0 < value < math.inf:
            raise ValueError(f"`{name}` must be a positive number, got {value!r}")
        parameters[name] = float(value)
    return parameters


def _in_memory_order(noise: Tensor, layout: Tensor) -> Tensor:
    """Float32 `noise` (classes, *shape) whose classes lie one after the other, each with the strides of `layout`."""
    count = layout.numel()
    if noise.dtype == torch.float32 and noise.stride() == (count, *layout.stride()):
        return noise
    ordered = torch.empty((len(noise), count), dtype=torch.float32, device=layout.device)
    for source, target in zip(noise, ordered, strict=True):
        target.as_strided(layout.shape, layout.stride()).copy_(source)
    return ordered


def _forward_cpu(
    v: Tensor,
    tau: Tensor | None,
    tau_value: float,
    noise: Tensor | None,
    key: Tensor | None,
    method: int,
    classes: int,
    a: float,
    r: float,
    n: float,
    differentiate: bool,
) -> tuple[Tensor, Tensor]:
    value, slope = _empty(v, differentiate)
    v = like(value, v)
    noise = None if noise is None else _in_memory_order(noise, value)
    _native.core().sga_sample_forward(
        v=v.data_ptr(),
        noise=0 if noise is None else noise.data_ptr(),
        key=0 if key is None else key.data_ptr(),
        value=value.data_ptr(),
        slope=slope.data_ptr() if differentiate else 0,
        count=v.numel(),
        method=method,
        classes=classes,
        tau=tau_value if tau is None else float(tau),
        a=a,
        r=r,
        n=n,
        dtype=_native.DTYPE_CODES[v.dtype],
        threads=_native.thread_count(),
    )
    return value, slope


def _forward_cuda(
    v: Tensor,
    tau: Tensor | None,
    tau_value: float,
    noise: Tensor | None,
    key: Tensor | None,
    method: int,
    classes: int,
    a: float,
    r: float,
    n: float,
    differentiate: bool,
) -> tuple[Tensor, Tensor]:
    value, slope = _empty(v, differentiate)
    v = like(value, v)
    noise = None if noise is None else _in_memory_order(noise, value)
    _native.cuda_core().sga_sample_cuda_forward(
        v=v.data_ptr(),
        tau=0 if tau is None else tau.data_ptr(),
        noise=0 if noise is None else noise.data_ptr(),
        key=0 if key is None else key.data_ptr(),
        value=value.data_ptr(),
        slope=slope.data_ptr() if differentiate else 0,
        count=v.numel(),
        method=method,
        classes=classes,
        tau_value=tau_value,
        a=a,
        r=r,
        n=n,
        dtype=_native.DTYPE_CODES[v.dtype],
        device=_native.device_index(v),
        stream=_native.stream(v),
    )
    return value, slope


def _forward_fake(v: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    return _empty(v, others[-1])


def _empty(v: Tensor, differentiate: bool) -> tuple[Tensor, Tensor]:
    """The value, and its derivative or an empty tensor."""
    slope = torch.empty_like(v, dtype=torch.float32) if differentiate else v.new_empty(0, dtype=torch.float32)
    return torch.empty_like(v), slope


_forward = _library.define(
    "sga_sample(Tensor v, Tensor? tau, float tau_value, Tensor? noise, Tensor? key, int method, int classes, float a, "
    "float r, float n, bool differentiate) -> (Tensor, Tensor)",
    cpu=_forward_cpu,
    cuda=_forward_cuda,
    fake=_forward_fake,
)


class _SgaSample(torch.autograd.Function):
    @staticmethod
    def forward(ctx, v: Tensor, *others: Any) -> Tensor:
        value, slope = _forward(v, *others, True)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    @_library.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (slope,) = ctx.saved_tensors
        return ((grad * slope).to(grad.dtype), *[None] * 9)


def sga_sample(
    v: Tensor,
    tau: float | Tensor,
    *,
    method: Method = "ssl",
    classes: int = 2,
    a: float | None = None,
    r: float | None = None,
    n: float | None = None,
    noise: Tensor | None = None,
    generator: torch.Generator | None = None,
    backend: _native.Backend = "auto",
) -> Tensor:
    """A sample of relaxed rounding of `v` (any shape and floating dtype), of its shape and dtype, with a gradient.

    tau: temperature, a positive number, or a 0-d float32 tensor on the device of `v`, which a captured CUDA graph reads
    anew on every replay; less than 0.05 counts as 0.05.
    method, classes: the logits, and whether v goes to one of two integers or of three.
    a, r, n: the method's parameters. Defaults with two classes: ssl a = 2.3. With three: ssl a = 1.4, r = 0.933,
    n = 1.5; linear r = 0.98, n = 1.5; cosine r = 0.98, n = 2; atanh r = 1, n = 1. A method has no others.
    noise: Gumbel noise (classes, *v.shape) to use instead of drawn noise, in the order of the candidates.
    generator: of torch, on the device of `v`, from which the noise is drawn. The native kernels and plain torch draw
    different noise from it. Inside `torch.compile`, use torch's default generator.

    Half dtypes are computed in float32, float64 in plain torch. Gradients are not differentiable again.
    """
    _check(v, tau, method, classes, noise)
    parameters = _parameters(method, classes, {"a": a, "r": r, "n": n})
    if not _native.choose(backend, _native.why_not_native(v, _NATIVE_DTYPES)):
        if noise is None:
            dtype = torch.float64 if v.dtype == torch.float64 else torch.float32
            noise = torch.empty((classes, *v.shape), dtype=dtype, device=v.device)
            noise = -noise.exponential_(generator=generator).log()
        return sga_sample_reference(v, tau, noise, method=method, **parameters)
    key = None
    if noise is None:
        key = torch.randint(0, 2**63 - 1, (2,), dtype=torch.int64, device=v.device, generator=generator)
    is_tensor = isinstance(tau, Tensor)
    arguments = (
        tau if is_tensor else None,
        0.0 if is_tensor else float(tau),
        noise,
        key,
        _METHODS.index(method),
        classes,
        *(parameters.get(name, 1.0) for name in ("a", "r", "n")),
    )
    if _library.needs_gradient(v):
        return _SgaSample.apply(v, *arguments)
    return _forward(v, *arguments, False)[0]
