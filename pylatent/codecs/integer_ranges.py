"""The convolutions of a float synthesis that has an integer form, and the ranges of their inputs on pictures.

Accepts an `nn.Sequential` of Conv2d (3x3 or 1x1, keeping the size), LeakyReLU(0.01), PixelShuffle, and residual blocks:
modules with `conv1`, `conv2` and `limit` that compute clamp(x + conv2(leaky(conv1(x))), -limit, limit).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.codecs.integer import LIMITS
from pylatent.errors import ModelError


@dataclass(frozen=True)
class FloatLayer:
    """A convolution of the float network. limit: of the residual sum that it ends, None elsewhere. largest: what its
    weights become at most, of a network that was trained with so few bits: the largest weight of every output."""

    name: str
    convolution: nn.Conv2d
    leaky: bool = False
    skip: bool = False
    limit: float | None = None
    shuffle: int = 1
    largest: int | None = None


@dataclass
class Range:
    """What the inputs of a layer were: largest, smallest and mean square of each channel (C,), float64."""

    high: Tensor
    low: Tensor
    square: Tensor
    count: int = 1

    @classmethod
    def of(cls, values: Tensor) -> Range:
        values, axes = values.double(), (0, 2, 3)
        return cls(values.amax(axes), values.amin(axes), values.square().mean(axes))

    def add(self, other: Range) -> None:
        self.high, self.low = torch.maximum(self.high, other.high), torch.minimum(self.low, other.low)
        self.square = (self.square * self.count + other.square) / (self.count + 1)
        self.count += 1


def float_layers(network: nn.Sequential) -> list[FloatLayer]:
    """The convolutions of a network. Raises ModelError for a module that has no integer form."""
    layers: list[FloatLayer] = []
    for name, module in network.named_children():
        last = layers[-1] if layers else None
        if isinstance(module, nn.Conv2d):
            layers.append(FloatLayer(name, module))
        elif is_block(module):
            layers += block_layers(f"{name} of the synthesis", name, module)
        elif isinstance(module, nn.LeakyReLU) and last and module.negative_slope == 0.01 and not last.skip:
            layers[-1] = FloatLayer(last.name, last.convolution, leaky=True)
        elif isinstance(module, nn.PixelShuffle) and last and not last.skip and last.shuffle == 1:
            layers[-1] = FloatLayer(last.name, last.convolution, last.leaky, shuffle=module.upscale_factor)
        else:
            raise ModelError(f"layer {name} of the synthesis, {module}, has no integer form here")
    for layer in layers:
        _check_convolution(layer)
    return layers


def _check_convolution(layer: FloatLayer) -> None:
    conv = layer.convolution
    kernel = conv.kernel_size[0]
    same = conv.kernel_size == (kernel, kernel) and conv.padding == (kernel // 2, kernel // 2)
    if kernel not in LIMITS or not same or conv.stride != (1, 1) or conv.dilation != (1, 1) or conv.groups != 1:
        raise ModelError(f"layer {layer.name} has no integer form: it must be 3x3 or 1x1 and keep the size, not {conv}")
    check_finite(f"{layer.name} of the synthesis", conv)


def is_block(module: nn.Module) -> bool:
    """Whether it is a residual block, by its parts."""
    return all(hasattr(module, part) for part in ("conv1", "conv2", "limit"))


def block_layers(called: str, name: str, block: Any) -> list[FloatLayer]:
    """The two convolutions of a residual block. Raises ModelError, which says `called`, for one without a limit."""
    if block.limit is None:
        raise ModelError(f"layer {called} has no integer form: its sums have no limit")
    return [
        FloatLayer(f"{name}.conv1", block.conv1, leaky=True),
        FloatLayer(f"{name}.conv2", block.conv2, skip=True, limit=float(block.limit)),
    ]


def check_finite(called: str, convolution: nn.Conv2d) -> None:
    """Raises ModelError for weights that are NaN or infinite."""
    if not all(bool(torch.isfinite(value).all()) for value in convolution.parameters()):
        raise ModelError(f"layer {called} has weights that are not finite")


@torch.no_grad()
def calibrate(network: nn.Sequential, inputs: Iterable[Tensor]) -> list[Range]:
    """The range of each layer's inputs over batches of what the network is given (B, C, h, w)."""
    layers = float_layers(network)
    ranges: list[Range] = []
    for values in inputs:
        before = values
        for number, layer in enumerate(layers):
            seen = Range.of(values)
            if number < len(ranges):
                ranges[number].add(seen)
            else:
                ranges.append(seen)
            values, before = apply_layer(layer, values, before), values
    if not ranges:
        raise ValueError("`inputs` must hold at least one batch to calibrate with, got none")
    return ranges


def apply_layer(layer: FloatLayer, values: Tensor, before: Tensor) -> Tensor:
    """A layer's result. before: the inputs of the layer before."""
    result = layer.convolution(values)
    if layer.leaky:
        result = F.leaky_relu(result, 0.01)
    if layer.skip:
        assert layer.limit is not None
        result = (result + before).clamp(-layer.limit, layer.limit)
    return F.pixel_shuffle(result, layer.shuffle)
