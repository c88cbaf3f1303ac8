"""From a float synthesis to its integer form: scales, weights and multipliers from the ranges of its activations.

Every channel of the latents and of the values inside residual blocks has a scale of its own, which costs nothing, since
the gains, or the weights around it, absorb it; the channels of a residual stream share one. A layer's inputs and its
weights share the bits of the sums (integer.py, LIMITS): for each stream the number of bits is taken that makes the
expected error of rounding both the smallest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pylatent.codecs.exact import ACTIVATION_BITS
from pylatent.codecs.integer import LIMITS, MULTIPLIER_BITS, IntegerLayer, IntegerSynthesis, largest_sum, transformed
from pylatent.codecs.integer_gains import GAIN_BITS
from pylatent.codecs.integer_ranges import FloatLayer, Range, float_layers
from pylatent.errors import ModelError

MARGIN = 4.0  # of limits over what the calibration saw; of those where a stream of residual sums begins:
_MARGIN_OF_STREAMS = 1.5
_FLOOR = 0.25  # ranges of channels, at least this part of the largest; before the first layer:
_FLOOR_OF_LATENTS = 0.1
_SLACK = 1 << 12  # of sums, for rounded weights
_LARGEST_ERROR = 1e-3  # of rounding a layer's inputs and weights, in parts of the mean square of its sums


@dataclass
class _Activations:
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


def convert(
    network: nn.Sequential, inverse_gain: Tensor | None, ranges: list[Range], *, name: str = "g_s"
) -> IntegerSynthesis:
    """The integer form of a float synthesis, whose pixels lie in [0, 1].

    inverse_gain: (Q, M), what latents of quality 1 to Q are multiplied by first; None for a fixed rate. ranges: of
    `calibrate`. Raises ModelError, with the layer's name, where there is none.
    """
    layers = float_layers(network)
    if len(ranges) != len(layers) or len(ranges[0].high) != layers[0].convolution.in_channels:
        raise ValueError(f"`ranges` must be of the {len(layers)} layers of this network")
    first = _latents(ranges[0])
    integers = _convert(layers, ranges, first, name)
    gains = torch.ones(1, len(first.range)) if inverse_gain is None else inverse_gain.detach().cpu()
    units = gains.double().clamp_min(0) * first.unit / first.range * 2.0 ** (GAIN_BITS - ACTIVATION_BITS)
    if not bool((units < 2**31).all()):
        raise ModelError(f"the inverse gains of the synthesis reach {float(gains.max()):.3g}, more than integers hold")
    return IntegerSynthesis(torch.round(units).to(torch.int32), first.highest, integers)


def convert_after(
    network: nn.Sequential, full: IntegerSynthesis, shared: int, ranges: list[Range], *, largest: int, name: str
) -> list[IntegerLayer]:
    """Layers of a float network that continues the first `shared` layers of an integer synthesis.

    Its inputs are what these stand for, its first layer is no residual block. largest: what its weights become at most.
    Raises ModelError, with the layer's name, where there is no integer form.
    """
    layers = [replace(layer, largest=largest) for layer in float_layers(network)]
    before, units = full.layers[shared - 1], full.layers[shared].units.double()
    if shared < 1 or len(units) != layers[0].convolution.in_channels or len(layers) != len(ranges):
        raise ValueError(f"`network` must continue layer {shared - 1}, whose {len(units)} channels are its inputs")
    unit = before.high
    given = _Activations(unit / units, before.low / unit, 1.0, ranges[0].square, unit)
    return _convert(layers, ranges, given, name)


def _convert(layers: list[FloatLayer], ranges: list[Range], first: _Activations, name: str) -> list[IntegerLayer]:
    """first: the inputs of the first layer, which get their bits here unless they have some."""
    activations, streams = [first], _streams(layers)
    for number in range(1, len(layers)):
        activations.append(_inputs(layers, ranges, number, next(each for each in streams if number in each)))
    for stream in streams:
        if not any(activations[number].unit for number in stream):
            _choose_bits([(layers[number], activations[number]) for number in stream])
    return [
        _integer_layer(f"{name}.{layer.name}", layer, inputs, following)
        for layer, inputs, following in zip(layers, activations, [*activations[1:], None], strict=True)
    ]


def _streams(layers: list[FloatLayer]) -> list[list[int]]:
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


def _inputs(layers: list[FloatLayer], ranges: list[Range], number: int, stream: list[int]) -> _Activations:
    """Scales of a layer's inputs, without their bits."""
    seen = ranges[number]
    magnitude = torch.maximum(seen.high, -seen.low)
    if layers[number - 1].leaky and layers[number - 1].shuffle == 1:
        # Weights that have been rounded stay what they are where all inputs have one scale.
        scale = _at_least(MARGIN * magnitude, _FLOOR if layers[number].largest is None else 1.0)
        low = float((MARGIN * seen.low.clamp_max(0) / scale).min())
        return _Activations(scale, max(-1.0, low - 0.01), 1.0, seen.square)
    first = ranges[stream[0]]
    most = _MARGIN_OF_STREAMS * float(torch.maximum(first.high, -first.low).max())
    for each in stream[1:]:
        most = max(most, layers[each - 1].limit or 0.0)
    limit = layers[number - 1].limit
    part = 1.0 if limit is None else limit / most
    return _Activations(torch.full_like(magnitude, max(most, 1e-6)), -part, part, seen.square)


def _latents(seen: Range) -> _Activations:
    """Scales of the first layer's inputs, without their bits."""
    magnitude = torch.maximum(seen.high, -seen.low)
    return _Activations(_at_least(MARGIN * magnitude, _FLOOR_OF_LATENTS), -1.0, 1.0, seen.square)


def _at_least(magnitude: Tensor, floor: float) -> Tensor:
    return torch.maximum(magnitude, floor * magnitude.max()).clamp_min(1e-6)


def _choose_bits(group: list[tuple[FloatLayer, _Activations]]) -> None:
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
            f"layer {group[0][0].name} of the synthesis has no integer form: rounding would cost {errors[best]:.2g} "
            f"of the mean square of its sums, at most {_LARGEST_ERROR:g} is allowed; retrain with smaller weights"
        )
    for _, inputs in group:
        inputs.unit = (1 << best) - 1


def _scaled_weight(layer: FloatLayer, inputs: _Activations) -> Tensor:
    """Weights for inputs that reach 1, (O, I, k, k) float64."""
    return layer.convolution.weight.detach().cpu().double() * inputs.range[:, None, None]


def _bias(layer: FloatLayer) -> Tensor:
    bias = layer.convolution.bias
    return torch.zeros(layer.convolution.out_channels).double() if bias is None else bias.detach().cpu().double()


def _weight_scale(layer: FloatLayer, inputs: _Activations, weight: Tensor) -> Tensor:
    """(O,) integers of a weight in a unit of it: as many as the limits of sums and weights allow."""
    limits, largest = LIMITS[layer.convolution.kernel_size[0]], transformed(weight).abs().amax((1, 2, 3))
    sums = largest_sum(weight, _bias(layer), inputs.low, inputs.high) * inputs.unit
    room = limits.sums - _SLACK - weight[0].numel() * inputs.unit / 2  # rounding adds half a unit to a weight
    scale = torch.minimum(room / sums.clamp_min(1e-30), (limits.weights - 8) / largest.clamp_min(1e-30))
    if layer.largest is not None:
        scale = torch.minimum(scale, layer.largest / weight.abs().amax((1, 2, 3)).clamp_min(1e-30))
    return torch.where(largest > 0, scale, scale.clamp_max(1.0))


def _expected_error(layer: FloatLayer, inputs: _Activations) -> float:
    """Mean square of what rounding inputs and weights does to the sums, over that of the sums."""
    weight = _scaled_weight(layer, inputs)
    scale, power = _weight_scale(layer, inputs, weight), weight.square().sum((2, 3))
    square = inputs.square / inputs.range.square()
    of_weights = square.sum() * weight[0, 0].numel() / 12 / scale.square()
    of_inputs = power.sum(1) / 12 / inputs.unit**2
    if bool((scale <= 0).any()):
        return float("inf")
    return float((of_weights + of_inputs).sum() / (power @ square).sum().clamp_min(1e-30))


def _integer_layer(name: str, layer: FloatLayer, inputs: _Activations, following: _Activations | None) -> IntegerLayer:
    weight = _scaled_weight(layer, inputs)
    scale = _weight_scale(layer, inputs, weight)
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
        torch.round(_bias(layer) * sums).to(torch.int32),
        multiplier.to(torch.int32),
        layer.leaky,
        layer.skip,
        low,
        high,
        layer.shuffle,
        (inputs.unit / inputs.range).float(),
    )


@torch.no_grad()
def load_float_synthesis(network: nn.Sequential, inverse_gain: Tensor | None, synthesis: IntegerSynthesis) -> None:
    """Set a float network, and inverse gains (Q, M), to what the integers that `convert` made of them stand for."""
    for number, (layer, integers) in enumerate(zip(float_layers(network), synthesis.layers, strict=True)):
        last = number + 1 == len(synthesis.layers)
        units = torch.tensor([255.0]) if last else synthesis.layers[number + 1].units
        sums = units.double().repeat_interleave(1 if last else integers.shuffle**2) * 2.0**MULTIPLIER_BITS
        sums = sums / integers.multiplier.double()
        weight = integers.weight.double() * integers.units.double()[:, None, None] / sums[:, None, None, None]
        layer.convolution.weight.copy_(weight)
        assert layer.convolution.bias is not None
        layer.convolution.bias.copy_(integers.bias.double() / sums)
    if inverse_gain is not None:
        units = synthesis.layers[0].units.double() * 2.0 ** (GAIN_BITS - ACTIVATION_BITS)
        inverse_gain.copy_(synthesis.gains.double() / units)
