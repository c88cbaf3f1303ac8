"""Integer syntheses on CUDA, in products of bytes (codecs/_conv_cuda.py): the pixels of codecs/integer.py, sooner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent import _native
from pylatent.codecs._conv_cuda import UNIT, ConvLayer, Result, convolve, pack, whole

if TYPE_CHECKING:
    from pylatent.codecs.integer import IntegerLayer

_DIGITS = 2


@dataclass(frozen=True)
class Network:
    """A synthesis on a device: layers, what becomes of their sums, and whether each adds its last but one inputs."""

    largest: int
    layers: tuple[tuple[ConvLayer, Result, bool], ...]


def why_not_native(y_hat: Tensor, layers: Sequence[IntegerLayer]) -> str | None:
    """The reason why a synthesis of `layers` cannot run on latents in CUDA kernels, or None if it can."""
    if not (y_hat.is_cuda or (y_hat.is_cpu and _native.is_emulated())):
        return f"there are CUDA kernels for CUDA tensors, not for {y_hat.device.type}"
    if (reason := _native.why_not_native(y_hat, (y_hat.dtype,))) is not None:
        return reason
    if y_hat.numel() == 0:
        return "there is nothing to compute"
    if layers[-1].skip:
        return f"layer {layers[-1].name} gives pixels and adds inputs: CUDA kernels do one of them"
    return None


def pack_network(largest: int, layers: Sequence[IntegerLayer], device: torch.device) -> Network:
    """The form of a synthesis that its kernels read, on `device`."""
    last = len(layers) - 1
    packed = ((*pack_layer(layer, device, last=i == last), layer.skip) for i, layer in enumerate(layers))
    return Network(largest, tuple(packed))


def pack_layer(layer: IntegerLayer, device: torch.device, *, last: bool = False) -> tuple[ConvLayer, Result]:
    """A layer, and what becomes of its sums: pixels if it is the last."""
    # Channels of a pixel lie beside each other: (row, column, channel) of the shuffle.
    places = torch.arange(layer.weight.shape[0]).view(layer.channels, layer.shuffle**2).T
    made = layer.channels if last else whole(layer.channels)
    places = F.pad(places, (0, made - layer.channels), value=-1).flatten()
    places = F.pad(places, (0, -len(places) % UNIT), value=-1)
    values = layer.bias, layer.multiplier, layer.negative_multiplier
    packed = pack(layer.weight, places, _DIGITS, values, device, padding=layer.kernel // 2)
    return packed, Result("pixels" if last else "activations", made, layer.low, layer.high, layer.shuffle)


def run(network: Network, y_hat: Tensor, gains: Tensor) -> Tensor:
    """A synthesis' pixels as in `IntegerSynthesis.reference`; y_hat and gains (B, M) on the network's device."""
    y_hat, gains = y_hat.float().contiguous(), gains.to(y_hat.device, torch.int32).contiguous()
    batch, channels, height, width = y_hat.shape
    if channels != network.layers[0][0].inputs:
        raise ValueError(f"`y_hat` must have {network.layers[0][0].inputs} channels, got {channels}")
    values = torch.empty((batch, height, width, whole(channels)), dtype=torch.int16, device=y_hat.device)
    images = (batch, channels, height, width, values.shape[3])
    addresses = y_hat.data_ptr(), gains.data_ptr(), network.largest, values.data_ptr()
    where = _native.device_index(y_hat), _native.stream(y_hat)
    _native.cuda_core().integer_conv_cuda_read_latents(images, *addresses, *where)
    before = None
    for layer, result, skip in network.layers:
        made = convolve(layer, values, (values.shape[1], values.shape[2]), result, before if skip else None)
        values, before = made, values
    return values.permute(0, 3, 1, 2)
