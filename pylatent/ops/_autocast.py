"""Autocast, which torch can be asked about on devices that have it alone: meta tensors have none."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

any_autocast = getattr(torch._C, "_is_any_autocast_enabled", lambda: True)
"""Whether some device may have autocast on, for a quarter of the time that asking for one device takes."""


def autocast_dtype(tensor: Tensor) -> torch.dtype | None:
    """The dtype that operators on this device run in now, if autocast is on there."""
    if not any_autocast() or tensor.is_meta or not torch.is_autocast_enabled(tensor.device.type):
        return None
    return torch.get_autocast_dtype(tensor.device.type)


def without_autocast(tensor: Tensor) -> AbstractContextManager[None]:
    """No autocast on the tensor's device."""
    return nullcontext() if tensor.is_meta else torch.autocast(tensor.device.type, enabled=False)
