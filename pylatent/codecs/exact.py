"""Exact parameter networks: integer-valued convolutions in float64, equal on every machine (docs/map.md).

A float network of convolutions, transposed convolutions and (leaky) ReLUs becomes one whose weights are integers over
2^weight_bits and whose activations are integers over 2^activation_bits. Every product and every partial sum is an
integer below 2^53, which float64 adds without rounding, so the order of summation, and with it the number of threads,
the tiling, the SIMD level, the device and the version of torch, cannot change a result. The method follows
Ballé et al., "Integer networks for data compression with latent-variable models", ICLR 2019.

The float64 form is the definition (`ExactNetwork.reference`). Where there are kernels, CPU tensors go to those on
16-bit integers (codecs/_exact_native.py) and CUDA tensors to those on bytes (codecs/_exact_cuda.py) instead, which give
the same integers several times as fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.codecs import _exact_cuda, _exact_native
from pylatent.codecs.exact_layer import ExactLayer
from pylatent.errors import ModelError

WEIGHT_BITS = 10
ACTIVATION_BITS = 8
_LIMIT = float(1 << 20)  # activations are clamped to +-2^20 units, 4096 in value
_SLOPE = 10  # the slope of LeakyReLU, 0.01, becomes 10 / 2^10
_SLOPE_BITS = 10


class ExactNetwork:
    """Maps integers over 2^activation_bits, as float64 (B, C, H, W), to the same; exact for any input. No gradients.

    `layers` must not change. Raises ModelError if the weights are so large that a sum could leave the range of exact
    integers.
    """

    def __init__(self, layers: Sequence[ExactLayer]) -> None:
        self.layers = tuple(layers)
        self._packed: dict[torch.device | None, Any] = {}  # of each CUDA device, and None of the CPU, when first needed
        for number, layer in enumerate(self.layers):
            inputs = (0, 2, 3) if layer.transposed else (1, 2, 3)
            largest = float((layer.weight.abs().sum(inputs) * _LIMIT + layer.bias.abs()).max())
            if not largest * (1 << _SLOPE_BITS) < 2**53:
                raise ModelError(
                    f"layer {number} of the parameter network cannot be made exact: its sums reach {largest:.3g}, "
                    f"the limit is {2**53 / (1 << _SLOPE_BITS):.3g}; retrain with smaller weights"
                )

    def __call__(
        self, values: Tensor, *, size: tuple[int, int] | None = None, dtype: torch.dtype = torch.float64
    ) -> Tensor:
        """The result for `values`, or with `size` its first rows and columns at most, as float64 or float32.

        Either dtype holds the integers, which lie within +-2^20. What `size` leaves out is not computed natively.
        CUDA kernels round values that are no integers, which the definition does not.
        """
        if _exact_native.why_not_native(values, self.layers) is None:
            if None not in self._packed:
                self._packed[None] = _exact_native.pack(self.layers)
            result = _exact_native.run(self._packed[None], values, size, dtype)
            if result is not None:
                return result
        elif _exact_cuda.why_not_native(values) is None and self._why_not_cuda is None:
            if values.device not in self._packed:
                self._packed[values.device] = _exact_cuda.pack_network(self.layers, values.device)
            return _exact_cuda.run(self._packed[values.device], values, size, dtype)
        result = self.reference(values).to(dtype)
        return result if size is None else result[..., : size[0], : size[1]]

    def reference(self, values: Tensor) -> Tensor:
        """The definition, in float64."""
        for layer in self.layers:
            values = self._apply(layer, values.clamp(-_LIMIT, _LIMIT))
        return values.clamp(-_LIMIT, _LIMIT)

    @cached_property
    def _why_not_cuda(self) -> str | None:
        return _exact_cuda.why_not_layers(self.layers)

    def __getstate__(self) -> dict[str, Any]:
        return {"layers": self.layers, "_packed": {}}  # what is packed belongs to the process

    @staticmethod
    def _apply(layer: ExactLayer, values: Tensor) -> Tensor:
        sums = integer_sums(
            values,
            layer.weight.to(values.device),
            layer.bias.to(values.device),
            stride=layer.stride,
            padding=layer.padding,
            output_padding=layer.output_padding,
            transposed=layer.transposed,
        )
        if layer.slope != 1 << _SLOPE_BITS:
            negative = sums * (layer.slope / (1 << _SLOPE_BITS))
            sums = torch.where(sums < 0, negative, sums)
        return torch.floor(sums * 2.0**-WEIGHT_BITS + 0.5)

    def state(self, prefix: str) -> dict[str, Tensor]:
        """Integer tensors that `with_state` reads: int16 weights where they fit, int32 otherwise."""
        state = {}
        for number, layer in enumerate(self.layers):
            fits = float(layer.weight.abs().max()) < 2**15
            state[f"{prefix}.{number}.weight"] = layer.weight.to(torch.int16 if fits else torch.int32)
            state[f"{prefix}.{number}.bias"] = layer.bias.to(torch.int32)
        return state

    def with_state(self, state: Mapping[str, Tensor], prefix: str) -> ExactNetwork:
        """A network of the same geometry with the integers of `state`. Raises ModelError if they do not fit."""
        layers = []
        for number, layer in enumerate(self.layers):
            weight, bias = state[f"{prefix}.{number}.weight"].double(), state[f"{prefix}.{number}.bias"].double()
            if weight.shape != layer.weight.shape or bias.shape != layer.bias.shape:
                raise ModelError(
                    f"{prefix}.{number} must have shape {tuple(layer.weight.shape)}, got {tuple(weight.shape)}"
                )
            layers.append(replace(layer, weight=weight, bias=bias))
        return ExactNetwork(layers)


def integer_sums(
    values: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    transposed: bool = False,
) -> Tensor:
    """A convolution of integers in float64 whose sums stay below 2^53: exact."""
    if transposed:
        sums = F.conv_transpose2d(values, weight, bias, stride, padding, output_padding)
    else:
        sums = F.conv2d(values, weight, bias, stride, padding)
    return torch.round(sums)  # undoes the error of a fast convolution algorithm, if a device chose one


def exact_layers(network: nn.Sequential) -> list[ExactLayer]:
    """The layers of a float network with weights rounded to integers; float weights are not modified.

    Accepts Conv2d and ConvTranspose2d (square kernels, no groups, no dilation), ReLU and LeakyReLU(0.01).
    """
    layers: list[ExactLayer] = []
    modules = list(network)
    for number, module in enumerate(modules):
        if isinstance(module, nn.ReLU | nn.LeakyReLU):
            continue
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            raise ModelError(f"a parameter network may not contain {type(module).__name__}: it has no exact form")
        follower = modules[number + 1] if number + 1 < len(modules) else None
        slope = 1 << _SLOPE_BITS
        if isinstance(follower, nn.LeakyReLU):
            slope = _SLOPE
        elif isinstance(follower, nn.ReLU):
            slope = 0
        weight = module.weight.detach().double().cpu()
        bias = torch.zeros(module.out_channels) if module.bias is None else module.bias.detach().cpu()
        if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
            raise ModelError(f"layer {number} of the parameter network has weights that are not finite")
        transposed = isinstance(module, nn.ConvTranspose2d)
        layers.append(
            ExactLayer(
                weight=torch.round(weight * 2.0**WEIGHT_BITS),
                bias=torch.round(bias.double() * 2.0 ** (WEIGHT_BITS + ACTIVATION_BITS)),
                stride=module.stride[0],
                padding=int(module.padding[0]),
                output_padding=module.output_padding[0] if transposed else 0,
                transposed=transposed,
                slope=slope,
            )
        )
    return layers


@torch.no_grad()
def load_float_weights(network: nn.Sequential, state: Mapping[str, Tensor], prefix: str) -> None:
    """Set a float network's weights to the values that the integers in `state` stand for."""
    convolutions = [module for module in network if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    for number, module in enumerate(convolutions):
        module.weight.copy_(state[f"{prefix}.{number}.weight"].double() * 2.0**-WEIGHT_BITS)
        assert module.bias is not None
        module.bias.copy_(state[f"{prefix}.{number}.bias"].double() * 2.0 ** -(WEIGHT_BITS + ACTIVATION_BITS))


def table_indexes(scales: Tensor, thresholds: Tensor) -> Tensor:
    """How many of `thresholds` are below each scale: uint8, contiguous, of the shape of `scales`.

    scales: integers within +-2^20, float32. thresholds: at most 255 integers from 0 to 2^20, ascending, float64.
    """
    if _exact_native.why_not_native(scales) is None:
        return _exact_native.table_indexes(scales, thresholds)
    limits = thresholds.to(scales.device, torch.float32)
    return torch.searchsorted(limits, scales.contiguous()).to(torch.uint8)


def to_grid(values: Tensor) -> Tensor:
    """Real values -> the nearest integers over 2^activation_bits, as float64."""
    return torch.round(values.detach().double() * 2.0**ACTIVATION_BITS)
