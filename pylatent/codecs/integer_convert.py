"""From a float synthesis to its integer form, by the scales of codecs/integer_scales.py."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from pylatent.codecs.exact import ACTIVATION_BITS
from pylatent.codecs.integer import MULTIPLIER_BITS, IntegerLayer, IntegerSynthesis
from pylatent.codecs.integer_gains import GAIN_BITS
from pylatent.codecs.integer_ranges import FloatLayer, Range, float_layers
from pylatent.codecs.integer_scales import Activations, choose_bits, inputs_of, integer_layer, latents_of, streams_of
from pylatent.errors import ModelError


def convert(
    network: nn.Sequential,
    inverse_gain: Tensor | None,
    ranges: list[Range],
    *,
    largest: int | None = None,
    name: str = "g_s",
) -> IntegerSynthesis:
    """The integer form of a float synthesis, whose pixels lie in [0, 1].

    inverse_gain: (Q, M), what latents of quality 1 to Q are multiplied by first; None for a fixed rate. ranges: of
    `calibrate`. largest: what weights become at most, as many as the sums allow if not given. Raises ModelError, with
    the layer's name, where there is none.
    """
    layers = [replace(layer, largest=largest) for layer in float_layers(network)]
    if len(ranges) != len(layers) or len(ranges[0].high) != layers[0].convolution.in_channels:
        raise ValueError(f"`ranges` must be of the {len(layers)} layers of this network")
    first = latents_of(ranges[0])
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
    given = Activations(unit / units, before.low / unit, 1.0, ranges[0].square, unit)
    return _convert(layers, ranges, given, name)


def _convert(layers: list[FloatLayer], ranges: list[Range], first: Activations, name: str) -> list[IntegerLayer]:
    """first: the inputs of the first layer, which get their bits here unless they have some."""
    activations, streams = [first], streams_of(layers)
    for number in range(1, len(layers)):
        activations.append(inputs_of(layers, ranges, number, next(each for each in streams if number in each)))
    for stream in streams:
        if not any(activations[number].unit for number in stream):
            group = [(layers[number], activations[number]) for number in stream]
            choose_bits(f"{name}.{layers[stream[0]].name}", group)
    return [
        integer_layer(f"{name}.{layer.name}", layer, inputs, following)
        for layer, inputs, following in zip(layers, activations, [*activations[1:], None], strict=True)
    ]


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
