"""Exact networks on the CPU, in products of 16 bits (csrc/exact_conv): the results of codecs/exact.py, sooner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pylatent import _native
from pylatent.codecs.exact_layer import ExactLayer


def why_not_native(values: Tensor, layers: Sequence[ExactLayer] = ()) -> str | None:
    """The reason why a network of `layers`, or a table look-up, cannot run natively on `values`; None if it can."""
    if (reason := _native.why_not_native()) is not None:
        return reason
    if values.device.type != "cpu" or _native.is_emulated():
        return f"these kernels run on the CPU, not on {'an emulated device' if values.is_cpu else values.device.type}"
    if values.numel() == 0:
        return "there is nothing to compute"
    if not layers:
        return None
    if values.dtype != torch.float64 or values.ndim != 4:
        return f"values must be float64 (B, C, H, W), not {values.dtype} {tuple(values.shape)}"
    if not all(0 <= layer.slope <= 1 << 10 for layer in layers):
        return "there are no kernels for slopes below 0 or above 1"
    if variants()[-1] == "scalar":
        return "there are no vector kernels for this processor, so that float64 is faster"
    return None


def variants() -> list[str]:
    """The kernels that this machine and PYLATENT_SIMD allow, the fastest last."""
    return list(_native.core().integer_variants())


def pack(layers: Sequence[ExactLayer]) -> Any:
    """The native form of a network."""
    return _native.core().ExactNetwork(as_tuples(layers))


def as_tuples(layers: Sequence[ExactLayer]) -> list[tuple[Any, ...]]:
    """Layers as the native core takes them."""
    return [
        (
            layer.weight.cpu().to(torch.int32).numpy(),
            layer.bias.cpu().to(torch.int64).numpy(),
            layer.stride,
            layer.padding,
            layer.output_padding,
            layer.transposed,
            layer.slope,
        )
        for layer in layers
    ]


def run(
    network: Any, values: Tensor, size: tuple[int, int] | None, dtype: torch.dtype, variant: int = -1
) -> Tensor | None:
    """A packed network's result as in `ExactNetwork.__call__`; None if `values`, (B, C, H, W), are not integers.

    variant: a place in `variants()`.
    """
    values = values.contiguous()
    channels, rows, columns = network.output_shape(*values.shape[2:])
    if size is not None:
        rows, columns = min(rows, size[0]), min(columns, size[1])
    out = torch.empty((values.shape[0], channels, rows, columns), dtype=dtype)
    threads = _native.thread_count()
    code = _native.DTYPE_CODES[dtype]
    whole = network.run(values.data_ptr(), *values.shape, rows, columns, out.data_ptr(), code, threads, variant)
    return out if whole else None


def table_indexes(scales: Tensor, thresholds: Tensor) -> Tensor:
    """`exact.table_indexes` of scales on the CPU."""
    scales = scales.float().contiguous()
    indexes = torch.empty(scales.shape, dtype=torch.uint8)
    limits = thresholds.to(torch.int32).numpy()
    _native.core().table_indexes(scales.data_ptr(), scales.numel(), limits, indexes.data_ptr(), _native.thread_count())
    return indexes
