"""Exact networks on CUDA, in products of bytes (codecs/_conv_cuda.py): the results of codecs/exact.py, sooner.

Activations are int32 between layers, three bytes of which count: all that the definition allows, so that nothing
depends on the values and nothing need be looked at from the CPU. Values that are no integers are rounded, NaN is 2^20.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pylatent import _native
from pylatent.codecs._conv_cuda import MOST_KERNEL, MOST_PRODUCTS, MOST_STEP, ConvLayer, Result, convolve, pack, whole
from pylatent.codecs.exact_layer import ExactLayer

_DIGITS = 3
_LIMIT = 1 << 20  # of activations

Network = tuple[tuple[ConvLayer, ExactLayer], ...]


def why_not_native(values: Tensor) -> str | None:
    """The reason why no exact network can run on `values` in CUDA kernels, or None."""
    if not (values.is_cuda or (values.is_cpu and _native.is_emulated())):
        return f"there are CUDA kernels for CUDA tensors, not for {values.device.type}"
    if (reason := _native.why_not_native(values, (torch.float64,))) is not None:
        return reason
    if values.ndim != 4 or values.numel() == 0:
        return f"values must be (B, C, H, W) and not empty, got {tuple(values.shape)}"
    return None


def why_not_layers(layers: Sequence[ExactLayer]) -> str | None:
    """The reason why there are no CUDA kernels for a network of `layers`, or None if there are."""
    for number, layer in enumerate(layers):
        inputs = layer.weight.shape[0 if layer.transposed else 1]
        products = inputs * layer.weight.shape[2] * layer.weight.shape[3]
        if not layer.transposed and layer.stride != 1:
            return f"layer {number} has stride {layer.stride}: CUDA kernels take transposed convolutions and stride 1"
        if layer.transposed and layer.stride > MOST_STEP:
            return f"layer {number} is transposed with stride {layer.stride}: CUDA kernels take at most {MOST_STEP}"
        if max(layer.weight.shape[2:]) > MOST_KERNEL:
            return f"layer {number} has more than {MOST_KERNEL} taps along a side, the most that CUDA kernels take"
        if not 0 <= layer.slope <= 1 << 10:
            return f"layer {number} has a slope below 0 or above 1, for which there are no CUDA kernels"
        if products > MOST_PRODUCTS:
            return f"layer {number} sums {products} products, CUDA kernels take {MOST_PRODUCTS}"
        if not float(layer.weight.abs().max()) < 1 << 15:
            return f"layer {number} has weights beyond 16 bits, for which there are no CUDA kernels"
    return None


def pack_network(layers: Sequence[ExactLayer], device: torch.device) -> Network:
    """The form of a network that its kernels read, on `device`."""
    packed = []
    for layer in layers:
        outputs = layer.weight.shape[1 if layer.transposed else 0]
        places = torch.arange(whole(outputs))
        places[outputs:] = -1
        values = layer.bias.to(torch.int64), None, None
        geometry = {"stride": layer.stride, "padding": layer.padding}
        one = pack(layer.weight, places, _DIGITS, values, device, transposed=layer.transposed, **geometry)
        packed.append((one, layer))
    return tuple(packed)


def run(network: Network, values: Tensor, size: tuple[int, int] | None, dtype: torch.dtype) -> Tensor:
    """A network's result as in `ExactNetwork.__call__`; values: float64 (B, C, H, W) on the network's device."""
    values = values.contiguous()
    batch, channels, height, width = values.shape
    if channels != network[0][0].inputs:
        raise ValueError(f"`values` must have {network[0][0].inputs} channels, got {channels}")
    x = torch.empty((batch, height, width, whole(channels)), dtype=torch.int32, device=values.device)
    images = (batch, channels, height, width, x.shape[3])
    module, where = _native.cuda_core(), (_native.device_index(values), _native.stream(values))
    module.integer_conv_cuda_read_values(images, values.data_ptr(), x.data_ptr(), *where)
    for number, (packed, layer) in enumerate(network):
        last = number + 1 == len(network)
        rows, columns = (_output_length(layer, side, length) for side, length in enumerate(x.shape[1:3]))
        if last and size is not None:
            rows, columns = min(rows, size[0]), min(columns, size[1])
        kind, made = (dtype, packed.outputs) if last else ("activations", packed.units)
        x = convolve(packed, x, (rows, columns), Result(kind, made, -_LIMIT, _LIMIT, slope=layer.slope))
    return x


def _output_length(layer: ExactLayer, side: int, length: int) -> int:
    kernel = layer.weight.shape[2 + side]
    if layer.transposed:
        made = (length - 1) * layer.stride - 2 * layer.padding + kernel + layer.output_padding
    else:
        made = length + 2 * layer.padding - kernel + 1
    if made < 1:
        raise ValueError(f"an input {length} long is too short for a kernel of {kernel} and padding {layer.padding}")
    return made
