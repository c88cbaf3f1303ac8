"""Integer syntheses on the CPU (csrc/integer_synthesis): the pixels of codecs/integer.py, sooner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pylatent import _native

if TYPE_CHECKING:
    from pylatent.codecs.integer import IntegerLayer


def why_not_native(y_hat: Tensor) -> str | None:
    """The reason why an integer synthesis cannot run natively on latents, or None if it can."""
    if (reason := _native.why_not_native()) is not None:
        return reason
    if y_hat.device.type != "cpu" or _native.is_emulated():
        return f"these kernels run on the CPU, not on {'an emulated device' if y_hat.is_cpu else y_hat.device.type}"
    if y_hat.numel() == 0:
        return "there is nothing to compute"
    return None


def variants() -> list[str]:
    """The kernels that this machine and PYLATENT_SIMD allow, the fastest last; `amx-model` is for tests."""
    return list(_native.core().integer_variants())


def pack(largest: int, layers: Sequence[IntegerLayer]) -> Any:
    """The native form of a network."""
    return _native.core().IntegerSynthesis(
        largest,
        [
            (
                layer.weight.cpu().contiguous().numpy(),
                layer.bias.cpu().numpy(),
                layer.multiplier.cpu().numpy(),
                layer.negative_multiplier.cpu().numpy(),
                layer.skip,
                layer.low,
                layer.high,
                layer.shuffle,
            )
            for layer in layers
        ],
    )


def run(network: Any, y_hat: Tensor, gains: Tensor, scale: int, variant: int = -1) -> Tensor:
    """A packed network's pixels as in `IntegerSynthesis.reference`. variant: a place in `variants()`."""
    y_hat, gains = y_hat.float().contiguous(), gains.contiguous()
    batch, _, height, width = y_hat.shape
    pixels = torch.empty((batch, height * scale, width * scale, 3), dtype=torch.uint8)
    threads = _native.thread_count()
    network.run(y_hat.data_ptr(), *y_hat.shape, gains.data_ptr(), pixels.data_ptr(), threads, variant)
    return pixels.permute(0, 3, 1, 2)
