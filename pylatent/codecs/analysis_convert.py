"""From a float analysis to its integer form (codecs/integer_analysis.py), with the scales of codecs/integer_scales.py.

Accepts an `nn.Sequential` of Conv2d (3x3, stride 1 or 2, zeros around), LeakyReLU(0.01) and clipped residual blocks,
with a PixelUnshuffle before those that take pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pylatent.codecs.integer import MULTIPLIER_BITS, IntegerLayer
from pylatent.codecs.integer_analysis import UNIT, AnalysisInputs, AnalysisLayer, IntegerAnalysis
from pylatent.codecs.integer_ranges import FloatLayer, Range, apply_layer, block_layers, check_finite, is_block
from pylatent.codecs.integer_scales import (
    MARGIN,
    Activations,
    at_least,
    choose_bits,
    inputs_of,
    integer_layer,
    latents_of,
    scaled_weight,
    streams_of,
    weight_scale,
)
from pylatent.codecs.large_tiles import MOST_SPREAD, LargeTiles, largest_spread
from pylatent.errors import ModelError

_RESULT = (1 << 20) - 1  # integers of the largest latent
_PIXELS = (0, UNIT)


@dataclass(frozen=True)
class LayerScales:
    """What turns a float layer into integers, apart from its weights.

    units (I,) float32: integers of an input in 1; multiplier (O,) int32, and low, high: as in IntegerLayer. Behind the
    last layer stand the results' units, without a multiplier.
    """

    units: Tensor
    multiplier: Tensor
    low: int
    high: int


@dataclass(frozen=True)
class Scales:
    """Of an analysis: what its inputs are clamped to, and the scales of its layers and results."""

    limits: tuple[int, int]
    layers: list[LayerScales]


def analysis_layers(network: nn.Sequential, name: str) -> list[FloatLayer]:
    """The convolutions of an analysis. Raises ModelError for a module that has no integer form."""
    layers: list[FloatLayer] = []
    for number, (key, module) in enumerate(network.named_children()):
        last = layers[-1] if layers else None
        if isinstance(module, nn.PixelUnshuffle) and number == 0:
            continue
        if isinstance(module, nn.Conv2d):
            layers.append(FloatLayer(f"{name}.{key}", module))
        elif is_block(module):
            layers += block_layers(f"{name}.{key}", f"{name}.{key}", module)
        elif isinstance(module, nn.LeakyReLU) and last and module.negative_slope == 0.01 and not last.skip:
            layers[-1] = replace(last, leaky=True)
        else:
            raise ModelError(f"layer {name}.{key}, {module}, has no integer form here")
    if not layers:
        raise ModelError(f"{name} has no layers that could have an integer form")
    for layer in layers:
        conv = layer.convolution
        shape = (conv.kernel_size, conv.padding, conv.dilation, conv.groups)
        if shape != ((3, 3), (1, 1), (1, 1), 1) or conv.stride not in ((1, 1), (2, 2)):
            raise ModelError(f"layer {layer.name} has no integer form: it must be 3x3 of stride 1 or 2, not {conv}")
        check_finite(layer.name, conv)
    return layers


def has_integer_form(network: nn.Sequential) -> bool:
    """Whether `analysis_layers` accepts the analysis."""
    try:
        return bool(analysis_layers(network, "layer"))
    except ModelError:
        return False


@torch.no_grad()
def see(network: nn.Sequential, x: Tensor, ranges: list[Range]) -> None:
    """Add to `ranges`, empty at first, those of each layer's inputs and of the results, of images x."""
    layers = analysis_layers(network, "layer")
    values = before = network[0](x) if _block(network) > 1 else x
    for number in range(len(layers) + 1):
        seen = Range.of(values)
        if number < len(ranges):
            ranges[number].add(seen)
        else:
            ranges.append(seen)
        if number < len(layers):
            values, before = apply_layer(layers[number], values, before), values


@torch.no_grad()
def analysis_scales(network: nn.Sequential, name: str, ranges: list[Range], *, pixels: bool) -> Scales:
    """The scales of an analysis. ranges: of `see`. pixels: whether it is given these. Raises ModelError."""
    layers = analysis_layers(network, name)
    streams = streams_of(layers)
    if len(ranges) != len(layers) + 1 or len(ranges[-1].high) != layers[-1].convolution.out_channels:
        raise ValueError(f"`ranges` must be of the {len(layers)} layers of this analysis and of its results")
    first = Activations(torch.ones_like(ranges[0].high), 0.0, 1.0, ranges[0].square, UNIT)
    activations = [first if pixels else latents_of(ranges[0])]
    for number in range(1, len(layers)):
        activations.append(inputs_of(layers, ranges, number, next(each for each in streams if number in each)))
    for stream in streams:
        if not (pixels and 0 in stream):
            choose_bits(layers[stream[0]].name, [(layers[number], activations[number]) for number in stream])
    largest = at_least(MARGIN * torch.maximum(ranges[-1].high, -ranges[-1].low), 0.1)
    last, given = layers[-1], activations[-1]
    finest = weight_scale(last, given, scaled_weight(last, given)) * given.unit / 4  # as multipliers are below 1/2
    activations.append(Activations(torch.maximum(largest, _RESULT / finest), -1.0, 1.0, ranges[-1].square, _RESULT))
    scales = []
    for layer, given, made in zip(layers, activations, activations[1:], strict=False):
        integers = integer_layer(layer.name, layer, given, made)
        # Weights follow from the multiplier and are rounded anew: a little more of it keeps them in bounds.
        multiplier = (integers.multiplier.double() * (1 + 2**-11)).ceil().add(1).clamp_max(2**31 - 1).to(torch.int32)
        scales.append(LayerScales(integers.units, multiplier, made.lowest, made.highest))
    results = (activations[-1].unit / activations[-1].range).float()
    scales.append(LayerScales(results, torch.zeros(0, dtype=torch.int32), 0, 0))
    return Scales((activations[0].lowest, activations[0].highest), scales)


@torch.no_grad()
def integer_analysis(network: nn.Sequential, name: str, scales: Scales, *, alignment: int = 1) -> IntegerAnalysis:
    """The integer form of a float analysis under `analysis_scales`. Raises ModelError, with the layer's name."""
    layers = analysis_layers(network, name)
    if len(scales.layers) != len(layers) + 1:
        raise ModelError(f"{name} has {len(layers)} layers, its scales are of {len(scales.layers) - 1}")
    scales = _for_large_tiles(layers, scales)
    made, inputs = [], scales.limits
    for layer, own, following in zip(layers, scales.layers, scales.layers[1:], strict=False):
        conv = layer.convolution
        sums = following.units.double() * 2.0**MULTIPLIER_BITS / own.multiplier.double()  # units of a sum in 1
        weight = conv.weight.detach().cpu().double() * sums[:, None, None, None] / own.units.double()[:, None, None]
        bias = torch.zeros_like(sums) if conv.bias is None else conv.bias.detach().cpu().double() * sums
        if not (float(weight.abs().max()) < 1 << 15 and float(bias.abs().max()) < 1 << 31):
            raise ModelError(f"layer {layer.name} does not fit its scales: calibrate it anew")
        integers = torch.round(weight).to(torch.int16), torch.round(bias).to(torch.int32), own.multiplier
        limits = (own.low, own.high)
        one = IntegerLayer(layer.name, *integers, layer.leaky, layer.skip, *limits, 1, own.units)
        tiles = None
        if _has_large_tiles(layers, layer):
            tiles = LargeTiles.make(weight, bias, own.multiplier, *inputs)
        made.append(AnalysisLayer(one, conv.stride[0], tiles))
        inputs = limits
    block = _block(network)
    units = scales.layers[0].units[:: block**2].contiguous()
    return IntegerAnalysis(AnalysisInputs(units, *scales.limits, block, alignment), made, 1 / scales.layers[-1].units)


def _has_large_tiles(layers: list[FloatLayer], layer: FloatLayer) -> bool:
    """Of stride 1; in the last layer they would cost 0.1 % of the bits for a hundredth of the time."""
    return layer.convolution.stride == (1, 1) and layer is not layers[-1]


def _for_large_tiles(layers: list[FloatLayer], scales: Scales) -> Scales:
    """The same weights on activations of so much smaller integers that large tiles can take them."""
    limits = [scales.limits, *((one.low, one.high) for one in scales.layers)]
    factors = [1.0] * (len(layers) + 1)  # of each layer's inputs, and 1 of the results
    for stream in streams_of(layers):
        spreads = [largest_spread(*limits[n]) for n in stream if _has_large_tiles(layers, layers[n])]
        for number in stream:
            factors[number] = min(1.0, MOST_SPREAD / max(spreads, default=1.0))
    made = []
    for one, own, following in zip(scales.layers, factors, [*factors[1:], 1.0], strict=True):
        multiplier = (one.multiplier.double() * (following / own)).round().to(torch.int32)
        made.append(LayerScales(one.units * own, multiplier, int(one.low * following), int(one.high * following)))
    low, high = scales.limits
    return Scales((int(low * factors[0]), int(high * factors[0])), made)


def scales_state(scales: Scales) -> dict[str, Tensor]:
    """As tensors, for `scales_from_state`."""
    state = {} if scales.limits == _PIXELS else {"limits": torch.tensor(scales.limits, dtype=torch.int32)}
    for number, one in enumerate(scales.layers):
        state[f"{number}.units"], state[f"{number}.multiplier"] = one.units, one.multiplier
        state[f"{number}.limits"] = torch.tensor([one.low, one.high], dtype=torch.int32)
    return state


def scales_from_state(state: Mapping[str, Tensor], prefix: str = "") -> Scales | None:
    """The scales of `scales_state`'s tensors, None if there are none. Raises KeyError if they are not complete."""
    layers: list[LayerScales] = []
    while (key := f"{prefix}{len(layers)}.") + "units" in state:
        units, multiplier, limits = (state[key + part] for part in ("units", "multiplier", "limits"))
        layers.append(LayerScales(units, multiplier, *limits.tolist()))
    low, high = state[f"{prefix}limits"].tolist() if f"{prefix}limits" in state else _PIXELS
    return Scales((low, high), layers) if layers else None


def _block(network: nn.Sequential) -> int:
    """Side of the pixel unshuffle that an analysis begins with."""
    first: Any = network[0]
    return first.downscale_factor if isinstance(first, nn.PixelUnshuffle) else 1
