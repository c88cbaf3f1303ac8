"""One helper that registers an operator with torch: schema, CPU and CUDA implementation, fake.

`torch.library.Library` costs 4 µs a call, `torch.library.custom_op` 11 µs. Gradients come from a
`torch.autograd.Function` around the operator, used only where one is needed (docs/map.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pylatent import _native

# The registrations live as long as this object.
_LIBRARY = torch.library.Library("pylatent", "DEF")


def define(
    schema: str, *, cpu: Callable[..., Any], cuda: Callable[..., Any], fake: Callable[..., Any]
) -> torch._ops.OpOverload:
    """Register `pylatent::<schema>` and return its overload, to be called like a function.

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
    return getattr(torch.ops.pylatent, name).default
