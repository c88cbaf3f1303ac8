"""What residuals are tested on: pictures and what a codec may make of them, and what their bytes must not depend on."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from small_codec import picture
from torch import Tensor

from pylatent import _native

AMBIENTS = ("threads", "float64", "bfloat16 products", "autocast", "pure Python")


def pair(height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A noisy picture and what a codec may make of it, uint8 (3, H, W)."""
    smooth = picture(height, width, seed=seed)[0] * 255
    generator = torch.Generator().manual_seed(seed)
    grain = torch.randn(3, height, width, generator=generator) * 6
    grain += torch.randn(1, height, width, generator=generator) * 6
    blur = torch.nn.functional.avg_pool2d(smooth[None], 3, 1, 1, count_include_pad=False)[0]
    return (smooth + grain).round().clamp(0, 255).byte(), blur.round().clamp(0, 255).byte()


@contextmanager
def ambient(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With another number of threads, default dtype, precision of products, autocast, or without the native module."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        if kind == "threads":
            torch.set_num_threads(1 if threads > 1 else 2)
        elif kind == "float64":
            torch.set_default_dtype(torch.float64)
        elif kind == "bfloat16 products":
            torch.set_float32_matmul_precision("medium")
        elif kind == "pure Python":
            monkeypatch.setattr(_native, "why_not_native", lambda: "a test")
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision(precision)
