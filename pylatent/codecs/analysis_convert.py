"""From a float analysis to its integer form (codecs/integer_analysis.py), with the scales of codecs/integer_scales.py.

Accepts an `nn.Sequential` of a PixelUnshuffle, Conv2d (3x3, stride 1 or 2, zeros around) and clipped residual blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pylatent.codecs.integer import MULTIPLIER_BITS, IntegerLayer
from pylatent.codecs.integer_analysis import UNIT, AnalysisLayer, IntegerAnalysis
from pylatent.codecs.integer_ranges import FloatLayer, Range, apply_layer, block_layers, check_finite, is_block
from pylatent.codecs.integer_scales import (
    MARGIN,
    Activations,
    at_least,
    choose_bits,
    inputs_of,
    integer_layer,
    scaled_weight,
    streams_of,
    weight_scale,
)
from pylatent.errors import ModelError

_RESULT = (1 << 20) - 1  # integers of the largest latent


@dataclass(frozen=True)
class LayerScales:
    """What turns a float layer into integers, apart from its weights.

    units (I,) float32: integers of an input in 1; multiplier (O,) int32, and low, high: as in IntegerLayer. Behind the
    last layer stand the latents' units, without a multiplier.
    """

    units: Tensor
    multiplier: Tensor
    low: int
    high: int


def analysis_layers(network: nn.Sequential) -> list[FloatLayer]:
    """The convolutions of an analysis. Raises ModelError for a module that has no integer form."""
    modules = list(network.named_children())
    if not modules or not isinstance(modules[0][1], nn.PixelUnshuffle):
        raise ModelError("an analysis has an integer form if it begins with a pixel unshuffle")
    layers: list[FloatLayer] = []
    for name, module in modules[1:]:
        if isinstance(module, nn.Conv2d):
            layers.append(FloatLayer(name, module))
        elif is_block(module):
            layers += block_layers(f"{name} of the analysis", name, module)
        else:
            raise ModelError(f"layer {name} of the analysis, {module}, has no integer form here")
    for layer in layers:
        conv = layer.convolution
        shape = (conv.kernel_size, conv.padding, conv.dilation, conv.groups)
        if shape != ((3, 3), (1, 1), (1, 1), 1) or conv.stride not in ((1, 1), (2, 2)):
            raise ModelError(f"layer {layer.name} has no integer form: it must be 3x3 of stride 1 or 2, not {conv}")
        check_finite(f"{layer.name} of the analysis", conv)
    return layers


def has_integer_form(network: nn.Sequential) -> bool:
    """Whether `analysis_layers` accepts the analysis."""
    try:
        return bool(analysis_layers(network))
    except ModelError:
        return False


@torch.no_grad()
def see(network: nn.Sequential, x: Tensor, ranges: list[Range]) -> None:
    """Add to `ranges`, empty at first, those of each layer's inputs and of the latents, of aligned pictures x."""
    layers = analysis_layers(network)
    values = before = network[0](x)
    for number in range(len(layers) + 1):
        seen = Range.of(values)
        if number < len(ranges):
            ranges[number].add(seen)
        else:
            ranges.append(seen)
        if number < len(layers):
            values, before = apply_layer(layers[number], values, before), values


@torch.no_grad()
def analysis_scales(network: nn.Sequential, ranges: list[Range]) -> list[LayerScales]:
    """The scales of each layer, and of the latents. ranges: of `see`. Raises ModelError."""
    layers = analysis_layers(network)
    streams = streams_of(layers)
    if len(ranges) != len(layers) + 1 or len(ranges[-1].high) != layers[-1].convolution.out_channels:
        raise ValueError(f"`ranges` must be of the {len(layers)} layers of this analysis and of its latents")
    activations = [Activations(torch.ones_like(ranges[0].high), 0.0, 1.0, ranges[0].square, UNIT)]
    for number in range(1, len(layers)):
        activations.append(inputs_of(layers, ranges, number, next(each for each in streams if number in each)))
    for stream in streams:
        if 0 not in stream:
            choose_bits([(layers[number], activations[number]) for number in stream])
    largest = at_least(MARGIN * torch.maximum(ranges[-1].high, -ranges[-1].low), 0.1)
    last, given = layers[-1], activations[-1]
    finest = weight_scale(last, given, scaled_weight(last, given)) * given.unit / 4  # as multipliers are below 1/2
    activations.append(Activations(torch.maximum(largest, _RESULT / finest), -1.0, 1.0, ranges[-1].square, _RESULT))
    scales = []
    for layer, given, made in zip(layers, activations, activations[1:], strict=False):
        integers = integer_layer(layer.name, layer, given, made)
        # Weights follow from the multiplier: one that is not rounded down keeps them within the bounds of their sums.
        multiplier = (integers.multiplier.long() + 1).clamp_max(2**31 - 1).to(torch.int32)
        scales.append(LayerScales(integers.units, multiplier, made.lowest, made.highest))
    latents = (activations[-1].unit / activations[-1].range).float()
    return [*scales, LayerScales(latents, torch.zeros(0, dtype=torch.int32), 0, 0)]


@torch.no_grad()
def integer_analysis(network: nn.Sequential, alignment: int, scales: list[LayerScales]) -> IntegerAnalysis:
    """The integer form of a float analysis under `analysis_scales`. Raises ModelError, with the layer's name."""
    layers = analysis_layers(network)
    if len(scales) != len(layers) + 1:
        raise ModelError(f"the analysis has {len(layers)} layers, its scales are of {len(scales) - 1}")
    made = []
    for layer, own, following in zip(layers, scales, scales[1:], strict=False):
        conv = layer.convolution
        sums = following.units.double() * 2.0**MULTIPLIER_BITS / own.multiplier.double()  # units of a sum in 1
        weight = conv.weight.detach().cpu().double() * sums[:, None, None, None] / own.units.double()[:, None, None]
        bias = torch.zeros_like(sums) if conv.bias is None else conv.bias.detach().cpu().double() * sums
        if not (float(weight.abs().max()) < 1 << 15 and float(bias.abs().max()) < 1 << 31):
            raise ModelError(f"layer {layer.name} of the analysis does not fit its scales: calibrate it anew")
        integers = torch.round(weight).to(torch.int16), torch.round(bias).to(torch.int32), own.multiplier
        name, limits = f"g_a.{layer.name}", (own.low, own.high)
        one = IntegerLayer(name, *integers, layer.leaky, layer.skip, *limits, 1, own.units)
        made.append(AnalysisLayer(one, conv.stride[0]))
    unshuffle: Any = network[0]
    return IntegerAnalysis(unshuffle.downscale_factor, alignment, made, 1 / scales[-1].units)


def scales_state(scales: list[LayerScales]) -> dict[str, Tensor]:
    """As tensors, for `scales_from_state`."""
    state = {}
    for number, one in enumerate(scales):
        state[f"{number}.units"], state[f"{number}.multiplier"] = one.units, one.multiplier
        state[f"{number}.limits"] = torch.tensor([one.low, one.high], dtype=torch.int32)
    return state


def scales_from_state(state: Mapping[str, Tensor]) -> list[LayerScales]:
    """The scales of `scales_state`'s tensors. Raises KeyError if they are not complete."""
    scales: list[LayerScales] = []
    while f"{len(scales)}.units" in state:
        units, multiplier, limits = (state[f"{len(scales)}.{part}"] for part in ("units", "multiplier", "limits"))
        scales.append(LayerScales(units, multiplier, *limits.tolist()))
    return scales
