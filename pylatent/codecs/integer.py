"""Integer synthesis: the layers from quantised latents to 8-bit pixels, in integers, so that the pixels are the same
on every machine (docs/format.md, "Integer synthesis").

    latents ─ ×gain ─► a_0 ─ layer ─► a_1 ─ … ─ layer ─► pixels
    a layer:  S = w * a + b (3x3 or 1x1, zeros around);  q = (S m + 2^31) >> 32, another m where S < 0;
              q += skip;  clamp;  pixel shuffle

Activations have at most 14 bits before a 3x3 convolution and 16 before a 1x1 one, weights 16. That every sum stays
below 2^29 or 2^31 is proved from the weights when the network is made, so products of 16 and sums of 32 bits are
enough, for the sums of Winograd's F(2x2, 3x3) as well, which needs 2.25 times fewer products.

`reference` is the definition: sums in float64 that are integers below 2^53, like those of codecs/exact.py, and the rest
in int64. Where there are kernels, CPU tensors go to csrc/integer_synthesis and CUDA tensors to csrc/integer_conv
instead, which give the same integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent.codecs import _integer_cuda, _integer_native
from pylatent.codecs.exact import ACTIVATION_BITS, integer_sums
from pylatent.codecs.integer_gains import GAIN_BITS, LARGEST_LATENT, gains_of
from pylatent.codecs.tiling import reach_of, run_tiled
from pylatent.errors import ModelError

MULTIPLIER_BITS = 32
SLOPE, SLOPE_BITS = 655, 16  # of LeakyReLU, 0.01
WINOGRAD = torch.tensor([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], dtype=torch.float64)  # 2 G of F(2, 3)


@dataclass(frozen=True)
class Limits:
    """What the integers of a layer must stay below in magnitude: inputs, weights (a 3x3 kernel's transformed), sums."""

    inputs: int
    weights: int
    sums: int


_TILE = 64  # latents along a side that go through the definition at once, whose numbers have 64 bits
_CUDA_TILE = 256  # the same of CUDA kernels, which keep whole layers of 16 bits
_TENSORS = ("weight", "bias", "multiplier", "units")
LIMITS = {3: Limits(1 << 13, 1 << 15, 1 << 29), 1: Limits(1 << 15, 1 << 15, 1 << 31)}  # by kernel size


@dataclass(frozen=True)
class IntegerLayer:
    """One convolution and what follows it.

    weight: int16 (O, I, k, k), k 3 or 1, padded with zeros to keep the size. bias: int32 (O,). multiplier: int32 (O,),
    positive: units of the result in a unit of the sum, over 2^32. leaky: LeakyReLU(0.01). skip: adds the inputs of the
    layer before. The result is clamped to low … high, low <= 0 <= high, and shuffled: O / shuffle^2 channels. units:
    float32 (I,), what the inputs count in, one over the value of a unit; it tells the float weights, not the pixels.
    """

    name: str
    weight: Tensor
    bias: Tensor
    multiplier: Tensor
    leaky: bool
    skip: bool
    low: int
    high: int
    shuffle: int
    units: Tensor

    @property
    def kernel(self) -> int:
        return self.weight.shape[-1]

    @property
    def negative_multiplier(self) -> Tensor:
        """The multiplier of negative sums, int32 (O,)."""
        return leaky_multiplier(self.multiplier) if self.leaky else self.multiplier

    @property
    def channels(self) -> int:
        """Of the result."""
        return self.weight.shape[0] // self.shuffle**2


class IntegerSynthesis:
    """Quantised latents -> 8-bit pixels. No gradients.

    gains: int32 (Q, M), at least 0: units of the first layer's inputs in a unit of the latents, over 2^12, for
    qualities 1 to Q (one row for a fixed rate). largest: bound of those inputs.
    Raises ModelError, with the layer's name, if integers could leave their range.
    """

    def __init__(self, gains: Tensor, largest: int, layers: Sequence[IntegerLayer]) -> None:
        self.gains, self.largest, self.layers = gains, largest, tuple(layers)
        self._packed: dict[torch.device | None, Any] = {}  # of each CUDA device, and None of the CPU, when first needed
        _check(self.gains, self.largest, self.layers)

    @torch.no_grad()
    def __call__(self, y_hat: Tensor, quality: Sequence[float] | None) -> Tensor:
        """y_hat (B, M, h, w) float32, as `decode` returns it, one quality a picture (None for a fixed rate) -> uint8
        pixels (B, 3, H, W). Whatever is no multiple of 2^-8 is rounded to one, half to even; NaN counts as 0."""
        rows = [gains_of(self.gains, one) for one in quality or (None,) * len(y_hat)]
        gains = torch.stack(rows) if rows else self.gains[:0]
        if _integer_native.why_not_native(y_hat) is None:
            if None not in self._packed:
                self._packed[None] = _integer_native.pack(self.largest, self.layers)
            return _integer_native.run(self._packed[None], y_hat, gains, self.scale)
        if y_hat.numel() == 0:
            return self.reference(y_hat, gains)
        run: Callable[[Tensor], Tensor]
        if _integer_cuda.why_not_native(y_hat, self.layers) is None:
            device = y_hat.device
            if device not in self._packed:
                self._packed[device] = _integer_cuda.pack_network(self.largest, self.layers, device)
            run, tile = partial(_integer_cuda.run, self._packed[device], gains=gains.to(device)), _CUDA_TILE
        else:
            run, tile = partial(self.reference, gains=gains), _TILE
        shape = [part for layer in self.layers for part in ((False, layer.kernel, 1), (True, 1, layer.shuffle))]
        scale, halo = reach_of(tuple(shape))
        return run_tiled(run, y_hat, tile=tile, halo=halo, scale=scale)

    def reference(self, y_hat: Tensor, gains: Tensor) -> Tensor:
        """The definition. gains: (B, M), of each picture."""
        units = torch.round(y_hat.double().nan_to_num(0.0) * 2.0**ACTIVATION_BITS)
        units = units.clamp(-LARGEST_LATENT, LARGEST_LATENT).long()
        values = units * gains.to(y_hat.device).long()[..., None, None]
        values = (values + (1 << (GAIN_BITS - 1))) >> GAIN_BITS
        values = values.clamp(-self.largest, self.largest)
        before = values
        for layer in self.layers:
            values, before = _apply(layer, values, before), values
        return values.to(torch.uint8)

    @property
    def scale(self) -> int:
        """Pixels along a side of a latent's cell."""
        scale = 1
        for layer in self.layers:
            scale *= layer.shuffle
        return scale

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": {}}  # what is packed belongs to the process

    def state(self, prefix: str) -> dict[str, Tensor]:
        """Tensors that `from_state` reads: integers, and the layers' `units`."""
        state = {f"{prefix}.gains": self.gains, f"{prefix}.largest": torch.tensor([self.largest], dtype=torch.int32)}
        return state | layers_state(self.layers, prefix)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prefix: str) -> IntegerSynthesis:
        """The network of `state`'s tensors. Raises ModelError or KeyError if they are not complete."""
        return cls(state[f"{prefix}.gains"], int(state[f"{prefix}.largest"]), layers_from_state(state, prefix))


def layers_state(layers: Sequence[IntegerLayer], prefix: str) -> dict[str, Tensor]:
    """Tensors that `layers_from_state` reads; weights are int8 where they fit."""
    state = {}
    for number, layer in enumerate(layers):
        fits = int(layer.weight.int().abs().max()) < 1 << 7
        shape = [layer.leaky, layer.skip, layer.low, layer.high, layer.shuffle]
        state[f"{prefix}.{number}.weight"] = layer.weight.to(torch.int8) if fits else layer.weight
        state[f"{prefix}.{number}.bias"] = layer.bias
        state[f"{prefix}.{number}.multiplier"] = layer.multiplier
        state[f"{prefix}.{number}.shape"] = torch.tensor(shape, dtype=torch.int32)
        state[f"{prefix}.{number}.units"] = layer.units
    return state


def layers_from_state(state: Mapping[str, Tensor], prefix: str) -> list[IntegerLayer]:
    """The layers of `state`'s tensors. Raises KeyError if they are not complete."""
    layers: list[IntegerLayer] = []
    while (key := f"{prefix}.{len(layers)}") + ".weight" in state:
        leaky, skip, low, high, shuffle = state[f"{key}.shape"].tolist()
        weight, bias, multiplier, units = (state[f"{key}.{part}"] for part in _TENSORS)
        integers = weight.to(torch.int16), bias, multiplier
        layers.append(IntegerLayer(key, *integers, bool(leaky), bool(skip), low, high, shuffle, units))
    return layers


def _apply(layer: IntegerLayer, values: Tensor, before: Tensor) -> Tensor:
    device = values.device
    weight, bias = layer.weight.to(device, torch.float64), layer.bias.to(device, torch.float64)
    sums = integer_sums(values.double(), weight, bias, padding=layer.kernel // 2).long()
    multiplier = torch.where(sums < 0, _column(layer.negative_multiplier, device), _column(layer.multiplier, device))
    result = (sums * multiplier + (1 << (MULTIPLIER_BITS - 1))) >> MULTIPLIER_BITS
    if layer.skip:
        result = result + before
    return F.pixel_shuffle(result.clamp(layer.low, layer.high), layer.shuffle)


def _column(values: Tensor, device: torch.device) -> Tensor:
    return values.to(device).long()[:, None, None]


def leaky_multiplier(multiplier: Tensor) -> Tensor:
    """The multipliers of negative sums before a LeakyReLU."""
    return ((multiplier.long() * SLOPE + (1 << (SLOPE_BITS - 1))) >> SLOPE_BITS).to(torch.int32)


def transformed(weight: Tensor) -> Tensor:
    """The kernels (O, I, k, k) that the products see, float64: of a 3x3 one, those of F(2x2, 3x3), times four."""
    weight = weight.double()
    if weight.shape[-1] == 1:
        return weight
    both = weight.reshape(-1, 9) @ torch.kron(WINOGRAD, WINOGRAD).T
    return both.view(*weight.shape[:2], 4, 4)


def largest_sum(weight: Tensor, bias: Tensor, low: float, high: float) -> Tensor:
    """(O,) float64: what no sum, nor any part of one, exceeds in magnitude for inputs from low <= 0 to high >= 0."""
    positive, negative = weight.double().clamp_min(0).sum((1, 2, 3)), -weight.double().clamp_max(0).sum((1, 2, 3))
    above, below = positive * high - negative * low, negative * high - positive * low
    return torch.maximum(above, below) + bias.double().abs()


def _check(gains: Tensor, largest: int, layers: tuple[IntegerLayer, ...]) -> None:
    if gains.ndim != 2 or gains.dtype != torch.int32 or bool((gains < 0).any()):
        raise ModelError("the gains of an integer synthesis must be int32 (Q, M), none below 0")
    if not layers:
        raise ModelError("an integer synthesis must have at least one layer")
    inputs, channels, low, high = 0, gains.shape[1], -largest, largest  # inputs: of the layer before
    for layer in layers:
        outputs = layer.weight.shape[0]
        if layer.weight.ndim != 4 or layer.kernel not in LIMITS or layer.weight.shape[1:3] != (channels, layer.kernel):
            raise ModelError(
                f"layer {layer.name} must have a weight (O, {channels}, k, k) with k 1 or 3, "
                f"got {tuple(layer.weight.shape)}"
            )
        if layer.shuffle < 1 or outputs % layer.shuffle**2:
            raise ModelError(f"layer {layer.name} cannot be shuffled by {layer.shuffle}: it has {outputs} outputs")
        if layer.bias.shape != (outputs,) or layer.multiplier.shape != (outputs,):
            raise ModelError(f"layer {layer.name} must have a bias and a multiplier for each of its {outputs} outputs")
        limits = LIMITS[layer.kernel]
        sums = float(largest_sum(layer.weight, layer.bias, low, high).max())
        for what, got, limit in (
            ("inputs", max(high, -low), limits.inputs),
            ("weights", float(transformed(layer.weight).abs().max()), limits.weights),
            ("sums", sums, limits.sums),
        ):
            if not got < limit:
                raise ModelError(
                    f"layer {layer.name} cannot be computed in integers: its {what} reach {got:.0f}, "
                    f"they must stay below {limit}; convert it anew, with smaller scales"
                )
        if not (
            bool((layer.multiplier > 0).all()) and layer.low <= 0 <= layer.high < 1 << 15 and layer.low > -(1 << 15)
        ):
            raise ModelError(f"layer {layer.name} must have positive multipliers and limits around 0, below 2^15")
        if layer.skip and (inputs != layer.channels or layer.shuffle != 1):
            raise ModelError(f"layer {layer.name} cannot add the inputs of the layer before: their shapes differ")
        inputs = channels if layer.shuffle == 1 else 0
        channels, low, high = layer.channels, layer.low, layer.high
    if (channels, low, high) != (3, 0, 255):
        raise ModelError(
            f"an integer synthesis must end with 3 channels from 0 to 255, not {channels}, {low} to {high}"
        )
