"""What the verbs of a codec refuse: the wrong thing, pixels of another range, weights of another precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pylatent.codecs.latents import Latents
from pylatent.codecs.witness import named_weights
from pylatent.coding.container import Bitstream
from pylatent.errors import ModelError

if TYPE_CHECKING:
    from pylatent.codecs.base import Codec

_FAR = 2.0  # filters overshoot [0, 1] by less; 8-bit pixels that were not divided by 255 reach farther


def check_pixels(x: object) -> None:
    """TypeError or ValueError unless `x` is a floating-point tensor of shape (B, 3, H, W)."""
    if not isinstance(x, Tensor):
        raise TypeError(f"`x` must be a tensor of pixels (B, 3, H, W) in [0, 1], got {_kind(x)}")
    if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < 1:
        raise ValueError(f"`x` must have shape (B, 3, H, W), got {tuple(x.shape)}")
    if not x.is_floating_point():
        advice = ": divide by 255" if x.dtype == torch.uint8 else ""
        raise ValueError(f"`x` must be a floating-point tensor in [0, 1], got {x.dtype}{advice}")


def check_range(name: str, x: Tensor) -> None:
    """ValueError if pixels on the CPU are far outside of [0, 1]; to look at a GPU's would wait for it."""
    if x.is_cpu and x.numel() and not torch.compiler.is_compiling():
        low, high = (float(value) for value in x.detach().aminmax())
        if low < -_FAR or high > _FAR:
            advice = "divide 8-bit pixels by 255"
            raise ValueError(f"`{name}` must be in [0, 1], got values from {low:g} to {high:g}: {advice}")


def check_latents(latents: object) -> None:
    """TypeError unless these are Latents."""
    if not isinstance(latents, Latents):
        advice = "; pixels go to `analyze`, or to `compress`" if isinstance(latents, Tensor) else ""
        raise TypeError(
            f"`latents` must be Latents, as `analyze` and `decode` return them, got {_kind(latents)}{advice}"
        )


def check_streams(streams: Sequence[Bitstream]) -> None:
    """TypeError unless these are Bitstreams, ValueError if there are none."""
    if isinstance(streams, Bitstream):
        raise TypeError("`streams` must be a list of Bitstreams, got one Bitstream: put it into a list, [stream]")
    if isinstance(streams, bytes):
        raise TypeError("`streams` must be a list of Bitstreams, got bytes: `pylatent.decompress` takes a file's bytes")
    if not isinstance(streams, Sequence):
        raise TypeError(f"`streams` must be a list of Bitstreams, as `encode` returns it, got {_kind(streams)}")
    for number, stream in enumerate(streams):
        if not isinstance(stream, Bitstream):
            raise TypeError(f"`streams` must be a list of Bitstreams, got {_kind(stream)} as number {number}")
    if not streams:
        raise ValueError("`streams` must hold at least one Bitstream, got none")


def check_float32(codec: Codec) -> None:
    """ModelError if the codec was converted to another precision: its latents would have too few digits, or others."""
    for name, parameter in named_weights(codec):
        if parameter.dtype != torch.float32:
            raise ModelError(
                f"the weights of model {codec.name} must be float32, but {name} is {parameter.dtype}: undo it with "
                f"`.float()`, and for half precision put the analysis or synthesis under torch.autocast"
            )


def _kind(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
