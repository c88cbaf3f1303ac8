"""Errors in the arguments of operators: they name the argument, what was expected and what was got.

Shapes, dtypes and devices only, never values: reading a value would wait for a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def check_tensor(name: str, value: object) -> None:
    """TypeError unless `value` is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"`{name}` must be a tensor, got {type(value).__name__}")


def check_rank(name: str, tensor: Tensor, axes: Sequence[str]) -> None:
    """ValueError unless `tensor` has the named axes, e.g. ("B", "C", "H", "W")."""
    if tensor.dim() != len(axes):
        raise ValueError(
            f"`{name}` must have {len(axes)} dimensions ({', '.join(axes)}), got shape {tuple(tensor.shape)}"
        )


def check_shape(name: str, tensor: Tensor, expected: Sequence[int]) -> None:
    """ValueError unless `tensor` has exactly this shape."""
    if tensor.shape != tuple(expected):
        raise ValueError(f"`{name}` must have shape {tuple(expected)}, got {tuple(tensor.shape)}")


def check_dtype(name: str, tensor: Tensor, allowed: Sequence[torch.dtype]) -> None:
    """TypeError unless the dtype of `tensor` is one of `allowed`."""
    if tensor.dtype not in allowed:
        names = " or ".join(str(dtype) for dtype in allowed)
        raise TypeError(f"`{name}` must be {names}, got {tensor.dtype}")


def check_same_dtype(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """TypeError unless both tensors have one dtype."""
    if tensor.dtype != other.dtype:
        raise TypeError(f"`{name}` must be {other.dtype} like `{other_name}`, got {tensor.dtype}")


def check_same_device(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """ValueError unless both tensors are on one device."""
    if tensor.device != other.device:
        raise ValueError(f"`{name}` must be on {other.device} like `{other_name}`, got {tensor.device}")
