"""One helper that registers an operator with torch: schema, CPU and CUDA implementation, fake.

`torch.library.Library` costs 4 µs a call, three times as much where caches are cold, `torch.library.custom_op` 11 µs:
so the dispatcher is called where something may look at what it sees, and the implementation itself elsewhere. Gradients
come from a `torch.autograd.Function` around the operator, used only where one is needed (docs/map.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.autograd.function
from torch import Tensor
from torch.nn import Parameter

from pylatent import _native

# The registrations live as long as this object.
_LIBRARY = torch.library.Library("pylatent", "DEF")


def define(
    schema: str, *, cpu: Callable[..., Any], cuda: Callable[..., Any], fake: Callable[..., Any]
) -> Callable[..., Any]:
    """Register `pylatent::<schema>` and return what calls it.

    `cpu` and `cuda` get real tensors and return new ones (never an input or a view of one); `fake` gets fake tensors
    and returns empty ones of the same shapes, dtypes and strides. While `_native.emulated` is active, CPU tensors go
    to `cuda`.
    """
    name = schema[: schema.index("(")]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))

    def on_cpu(*args: Any) -> Any:
        return cuda(*args) if _native.is_emulated() else cpu(*args)

    _LIBRARY.impl(name, on_cpu, "CPU")
    _LIBRARY.impl(name, cuda, "CUDA")
    torch.library.register_fake(f"pylatent::{name}", fake, lib=_LIBRARY)
    overload = getattr(torch.ops.pylatent, name).default

    def call(*args: Any) -> Any:
        if not is_watched(args):
            if args[0].is_cuda:
                return cuda(*args)
            if args[0].is_cpu:
                return on_cpu(*args)
        return overload(*args)

    return call


def is_watched(args: tuple[Any, ...]) -> bool:
    """Whether a tracer, a mode or a kind of tensors must see the operator, so that the dispatcher has to be called."""
    if torch.compiler.is_compiling() or _native.modes() or torch.jit.is_tracing():
        return True
    for value in args:
        kind = type(value)
        if kind is not Tensor and kind is not Parameter and isinstance(value, Tensor):
            return True
    return False


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Whether autograd must know of an operator on these tensors."""
    if torch.is_grad_enabled():
        for tensor in tensors:
            if tensor is not None and tensor.requires_grad:
                return True
    return False


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """torch's decorator of that name, without its 5 µs where nobody asks for a second derivative."""
    marked = torch.autograd.function.once_differentiable(backward)

    def call(ctx: Any, *grads: Tensor) -> Any:
        return marked(ctx, *grads) if torch.is_grad_enabled() else backward(ctx, *grads)

    return call
