"""Integer analysis: pixels to latents, and these to the ones above, in the integers of codecs/integer.py, several times
as fast as in float32.

    pixels or latents ─ ×unit, clamped, rounded ─► a_0 ─ unshuffle ─ layer ─► a_1 ─ … ─ layer ─► ×scale ─► latents

It is the same on every machine, but nothing depends on that: whatever latents an encoder finds, the decoder is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent import _native
from pylatent.codecs import _integer_native
from pylatent.codecs.exact import integer_sums
from pylatent.codecs.integer import LIMITS, MULTIPLIER_BITS, IntegerLayer, largest_sum, transformed
from pylatent.codecs.large_tiles import MOST_SPREAD, LargeTiles, largest_spread
from pylatent.errors import ModelError

UNIT = 32 * 255
"""What a pixel of 1 becomes: 8-bit pixels are integers, and 13 bits suffice."""
LARGEST_RESULT = 1 << 30


def why_not_native(x: Tensor) -> str | None:
    """The reason why an integer analysis cannot run, or is not wanted, on pixels x; None if it can."""
    if (reason := _native.why_not_native()) is not None:
        return reason
    if x.device.type != "cpu":
        return f"integer analyses run on the CPU, not on {x.device.type}"
    if x.numel() == 0:
        return "there is nothing to compute"
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return "gradients, autocast and compilation are for the float network"
    if _integer_native.variants()[-1] == "scalar":
        return "there are no vector kernels for this processor, so that float32 is faster"
    return None


@dataclass(frozen=True)
class AnalysisLayer:
    """A 3x3 convolution with zeros around and what follows it; `integers.shuffle` is 1. stride: 1 or 2.

    tiles: the rounded form in which it is computed, with stride 1 only; None for an exact one.
    """

    integers: IntegerLayer
    stride: int
    tiles: LargeTiles | None = None


@dataclass(frozen=True)
class AnalysisInputs:
    """What an analysis is given: x (B, C, H, W) becomes floor(clamp(x units, low, high) - low + 1/2) + low, NaN low.

    units: (C,) float32. block: side of the pixel unshuffle that comes first. alignment: images are extended to
    multiples of it by their last row and column.
    """

    units: Tensor
    low: int
    high: int
    block: int = 1
    alignment: int = 1


class IntegerAnalysis:
    """float32 (B, C, H, W) -> latents (B, M, h, w) float32 before any gain. No gradients.

    scale: (M,) float32, the value of a unit of the last layer's results.
    Raises ModelError, with the layer's name, if integers could leave their range.
    """

    def __init__(self, inputs: AnalysisInputs, layers: Sequence[AnalysisLayer], scale: Tensor) -> None:
        self.inputs, self.layers, self.scale = inputs, tuple(layers), scale
        self._packed: Any = None  # made when first needed
        _check(inputs, self.layers)

    @torch.no_grad()
    def __call__(self, x: Tensor, gain: Tensor | None = None, variant: int = -1) -> Tensor:
        """Native: latents times `gain` (B, M), of x on the CPU. variant: a place in `_integer_native.variants()`."""
        return self._run(x, self._scales(len(x), gain), variant)

    @torch.no_grad()
    def results(self, x: Tensor) -> Tensor:
        """The integers that latents are made of, for `scaled`, as float32."""
        return self._run(x, torch.ones(len(x), len(self.scale)), -1)

    def scaled(self, results: Tensor, gain: Tensor | None) -> Tensor:
        """`self(x, gain)` of `results(x)`."""
        return results * self._scales(len(results), gain)[..., None, None]

    def _run(self, x: Tensor, scales: Tensor, variant: int) -> Tensor:
        if self._packed is None:
            self._packed = _pack(self.inputs, self.layers)
        x = x.float().contiguous()
        height, width = x.shape[2:]
        alignment = self.inputs.alignment
        results = torch.empty((len(x), *self._packed.result_shape(height, width, alignment)))
        pointers = (scales.data_ptr(), results.data_ptr())
        threads = _native.thread_count()
        self._packed.run(x.data_ptr(), len(x), height, width, alignment, *pointers, threads, variant)
        return results

    def reference(self, x: Tensor, gain: Tensor | None = None) -> Tensor:
        """The same in float64."""
        given = self.inputs
        bottom, right = -x.shape[2] % given.alignment, -x.shape[3] % given.alignment
        x = F.pad(x.float(), (0, right, 0, bottom), mode="replicate") * given.units[:, None, None]
        x = x.nan_to_num(nan=given.low).clamp(given.low, given.high) - given.low
        values = before = F.pixel_unshuffle(torch.floor(x + 0.5).long() + given.low, given.block)
        for layer in self.layers:
            values, before = _apply(layer, values, before), values
        return self.scaled(values.float(), gain)

    def _scales(self, batch: int, gain: Tensor | None) -> Tensor:
        return (self.scale.expand(batch, -1) if gain is None else self.scale * gain).contiguous()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": None}  # what is packed belongs to the process


def _apply(layer: AnalysisLayer, values: Tensor, before: Tensor) -> Tensor:
    integers = layer.integers
    if layer.tiles is not None:
        result = layer.tiles.apply(values, integers.leaky)
    else:
        weight, bias = integers.weight.double(), integers.bias.double()
        sums = integer_sums(values.double(), weight, bias, stride=layer.stride, padding=1).long()
        multiplier = torch.where(
            sums < 0, integers.negative_multiplier.long()[:, None, None], integers.multiplier.long()[:, None, None]
        )
        result = (sums * multiplier + (1 << (MULTIPLIER_BITS - 1))) >> MULTIPLIER_BITS
    return (result + before if integers.skip else result).clamp(integers.low, integers.high)


def _pack(inputs: AnalysisInputs, layers: Sequence[AnalysisLayer]) -> Any:
    return _native.core().IntegerAnalysis(
        inputs.units.numpy(),
        inputs.low,
        inputs.high,
        inputs.block,
        [
            (*_numbers(layer), layer.stride, layer.integers.skip, layer.integers.low, layer.integers.high)
            for layer in layers
        ],
    )


def _numbers(layer: AnalysisLayer) -> tuple[Any, ...]:
    form: Any = layer.tiles or layer.integers
    negative = layer.integers.negative_multiplier
    if layer.tiles is not None:
        negative = layer.tiles.negative_multiplier(layer.integers.leaky)
    tensors = (form.weight, form.bias, form.multiplier, negative)
    return tuple(tensor.contiguous().numpy() for tensor in tensors)


def _check(inputs: AnalysisInputs, layers: tuple[AnalysisLayer, ...]) -> None:
    channels, low, high, limits = len(inputs.units) * inputs.block**2, inputs.low, inputs.high, LIMITS[3]
    for number, layer in enumerate(layers):
        integers, last = layer.integers, number + 1 == len(layers)
        if integers.weight.shape[1:] != (channels, 3, 3) or integers.shuffle != 1:
            raise ModelError(
                f"layer {integers.name} must have a weight (O, {channels}, 3, 3), got {tuple(integers.weight.shape)}"
            )
        reached: list[tuple[str, float, int]] = [
            ("inputs", max(high, -low), limits.inputs),
            ("results", max(integers.high, -integers.low), LARGEST_RESULT if last else 1 << 15),
        ]
        if layer.tiles is None:  # else LargeTiles.make has seen to it
            reached += [
                ("weights", float(transformed(integers.weight).abs().max()), limits.weights),
                ("sums", float(largest_sum(integers.weight, integers.bias, low, high).max()), limits.sums),
            ]
        for what, got, limit in reached:
            if not got < limit:
                raise ModelError(
                    f"layer {integers.name} cannot be computed in integers: its {what} reach {got:.0f}, "
                    f"they must stay below {limit}"
                )
        if layer.tiles is not None and (layer.stride != 1 or largest_spread(low, high) > MOST_SPREAD):
            raise ModelError(
                f"layer {integers.name} cannot be computed in large tiles: it halves the sides, or its inputs, from "
                f"{low} to {high}, are too large"
            )
        if not (bool((integers.multiplier > 0).all()) and integers.low <= 0 <= integers.high):
            raise ModelError(f"layer {integers.name} must have positive multipliers and limits around 0")
        channels, low, high = integers.channels, integers.low, integers.high
