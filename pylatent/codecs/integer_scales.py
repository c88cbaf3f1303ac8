"""Scales of the integers that activations and weights become, from the ranges of activations on pictures.

Every channel of the latents and of the values inside residual blocks has a scale of its own, which costs nothing, since
the gains, or the weights around it, absorb it; the channels of a residual stream share one. A layer's inputs and its
weights share the bits of the sums (integer.py, LIMITS): for each stream the number of bits is taken that makes the
expected error of rounding both the smallest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pylatent.codecs.integer import LIMITS, MULTIPLIER_BITS, IntegerLayer, largest_sum, transformed
from pylatent.codecs.integer_ranges import FloatLayer, Range
from pylatent.errors import ModelError

MARGIN = 4.0  # of limits over what the calibration saw; of those where a stream of residual sums begins:
_MARGIN_OF_STREAMS = 1.5
_FLOOR = 0.25  # ranges of channels, at least this part of the largest
_FLOOR_OF_LATENTS = 0.1  # the same before the first layer
_SLACK = 1 << 12  # of sums, for rounded weights
_LARGEST_ERROR = 1e-3  # of rounding a layer's inputs and weights, in parts of the mean square of its sums


@dataclass
class Activations:
    """Inputs of a layer. range: what `unit` integers stand for, per channel; low, high: what they are clamped to, in
    parts of it."""

    range: Tensor
    low: float
    high: float
    square: Tensor
    unit: int = 0

    @property
    def lowest(self) -> int:
        return -int(self.unit * -self.low)

    @property
    def highest(self) -> int:
        return int(self.unit * self.high)


def streams_of(layers: list[FloatLayer]) -> list[list[int]]:
    """Layers whose inputs share their scale: those before and after residual sums, and every other layer alone."""
    streams: list[list[int]] = []
    number = 0
    while number < len(layers):
        if any(number in stream for stream in streams):
            number += 1
            continue
        stream = [number]
        while stream[-1] + 2 < len(layers) and layers[stream[-1] + 1].skip:
            stream.append(stream[-1] + 2)
        streams.append(stream)
        number += 1
    return streams


def inputs_of(layers: list[FloatLayer], ranges: list[Range], number: int, stream: list[int]) -> Activations:
    """Scales of a layer's inputs, without their bits."""
    seen = ranges[number]
    magnitude = torch.maximum(seen.high, -seen.low)
    if layers[number - 1].leaky and layers[number - 1].shuffle == 1:
        # Weights that have been rounded stay what they are where all inputs have one scale.
        scale = at_least(MARGIN * magnitude, _FLOOR if layers[number].largest is None else 1.0)
        low = float((MARGIN * seen.low.clamp_max(0) / scale).min())
        return Activations(scale, max(-1.0, low - 0.01), 1.0, seen.square)
    first = ranges[stream[0]]
    most = _MARGIN_OF_STREAMS * float(torch.maximum(first.high, -first.low).max())
    for each in stream[1:]:
        most = max(most, layers[each - 1].limit or 0.0)
    limit = layers[number - 1].limit
    part = 1.0 if limit is None else limit / most
    return Activations(torch.full_like(magnitude, max(most, 1e-6)), -part, part, seen.square)


def latents_of(seen: Range) -> Activations:
    """Scales of latents that are a first layer's inputs, without their bits."""
    magnitude = torch.maximum(seen.high, -seen.low)
    return Activations(at_least(MARGIN * magnitude, _FLOOR_OF_LATENTS), -1.0, 1.0, seen.square)


def at_least(magnitude: Tensor, floor: float) -> Tensor:
    return torch.maximum(magnitude, floor * magnitude.max()).clamp_min(1e-6)


def choose_bits(name: str, group: list[tuple[FloatLayer, Activations]]) -> None:
    """Sets the `unit` of all, the same. name: of the first layer. Raises ModelError if rounding would cost too much."""
    most = min(LIMITS[layer.convolution.kernel_size[0]].inputs for layer, _ in group).bit_length() - 1
    errors = {}
    for bits in range(8, most + 1):
        errors[bits] = 0.0
        for layer, inputs in group:
            inputs.unit = (1 << bits) - 1
            errors[bits] += _expected_error(layer, inputs)
    best = min(errors, key=lambda bits: errors[bits])
    if not errors[best] < _LARGEST_ERROR * len(group):
        raise ModelError(
            f"layer {name} has no integer form: rounding would cost {errors[best]:.2g} "
            f"of the mean square of its sums, at most {_LARGEST_ERROR:g} is allowed; retrain with smaller weights"
        )
    for _, inputs in group:
        inputs.unit = (1 << best) - 1


def scaled_weight(layer: FloatLayer, inputs: Activations) -> Tensor:
    """Weights for inputs that reach 1, (O, I, k, k) float64."""
    return layer.convolution.weight.detach().cpu().double() * inputs.range[:, None, None]


def bias_of(layer: FloatLayer) -> Tensor:
    bias = layer.convolution.bias
    return torch.zeros(layer.convolution.out_channels).double() if bias is None else bias.detach().cpu().double()


def weight_scale(layer: FloatLayer, inputs: Activations, weight: Tensor) -> Tensor:
    """(O,) integers of a weight in a unit of it: as many as the limits of sums and weights allow."""
    limits, largest = LIMITS[layer.convolution.kernel_size[0]], transformed(weight).abs().amax((1, 2, 3))
    sums = largest_sum(weight, bias_of(layer), inputs.low, inputs.high) * inputs.unit
    room = limits.sums - _SLACK - weight[0].numel() * inputs.unit / 2  # rounding adds half a unit to a weight
    scale = torch.minimum(room / sums.clamp_min(1e-30), (limits.weights - 8) / largest.clamp_min(1e-30))
    if layer.largest is not None:
        scale = torch.minimum(scale, layer.largest / weight.abs().amax((1, 2, 3)).clamp_min(1e-30))
    return torch.where(largest > 0, scale, scale.clamp_max(1.0))


def _expected_error(layer: FloatLayer, inputs: Activations) -> float:
    """Mean square of what rounding inputs and weights does to the sums, over that of the sums."""
    weight = scaled_weight(layer, inputs)
    scale, power = weight_scale(layer, inputs, weight), weight.square().sum((2, 3))
    square = inputs.square / inputs.range.square()
    of_weights = square.sum() * weight[0, 0].numel() / 12 / scale.square()
    of_inputs = power.sum(1) / 12 / inputs.unit**2
    if bool((scale <= 0).any()):
        return float("inf")
    return float((of_weights + of_inputs).sum() / (power @ square).sum().clamp_min(1e-30))


def integer_layer(name: str, layer: FloatLayer, inputs: Activations, following: Activations | None) -> IntegerLayer:
    weight = scaled_weight(layer, inputs)
    scale = weight_scale(layer, inputs, weight)
    sums = scale * inputs.unit  # units of a sum in 1
    if following is None:
        units, low, high = torch.full_like(sums, 255.0), 0, 255
    else:
        units = (following.unit / following.range).repeat_interleave(layer.shuffle**2)
        low, high = following.lowest, following.highest
    multiplier = torch.round(units / sums * 2.0**MULTIPLIER_BITS).clamp(1, 2**31 - 1)
    return IntegerLayer(
        name,
        torch.round(weight * scale[:, None, None, None]).to(torch.int16),
        torch.round(bias_of(layer) * sums).to(torch.int32),
        multiplier.to(torch.int32),
        layer.leaky,
        layer.skip,
        low,
        high,
        layer.shuffle,
        (inputs.unit / inputs.range).float(),
    )
