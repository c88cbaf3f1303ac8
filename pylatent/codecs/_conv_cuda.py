"""Integer convolutions on CUDA (csrc/integer_conv/conv_cuda.h): layers as the kernels read them, and their calls.

The tensor cores multiply bytes. An activation is 2 digits to the base 256 (int16) or 3 (int32), a weight 2; sums of
products of digits i and j with equal i + j are kept in 32 bits each. With 2 digits only their sum modulo 2^32 counts,
with 3 `MOST_PRODUCTS` bounds them. A transposed convolution of stride s is s^2 ordinary ones, its phases, each of which
gives the outputs of rows and columns of one remainder.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pylatent import _native

UNIT = 8  # channels of activations, and outputs, go in whole eights
GROUP = 32  # inputs of a product of the tensor cores
MOST_PRODUCTS = (2**31 - 1) // (2 * 255 * 255)  # in a sum of digits: two products an activation
MOST_KERNEL, MOST_STEP = 7, 2
RESULTS = {"activations": 0, "pixels": 1, torch.float32: 2, torch.float64: 3}  # CudaResult


@dataclass(frozen=True)
class Taps:
    """Of a phase along one side. kernel: places of the weights for inputs `first`, first + 1, ... from an output."""

    first: int
    kernel: tuple[int, ...]

    @classmethod
    def of(cls, kernel: int, padding: int, step: int, phase: int, transposed: bool) -> Taps:
        if not transposed:
            return cls(-padding, tuple(range(kernel)))
        places = [k for k in reversed(range(kernel)) if (phase + padding - k) % step == 0]
        return cls((phase + padding - places[0]) // step if places else 0, tuple(places))


@dataclass(frozen=True)
class ConvLayer:
    """A layer on a device. digits: of its activations.

    phases: (row, column) and the taps of each. weight: uint8, as `fragments` makes it. outputs: of the convolution;
    units: their number in the order of their places, in whole eights. step: between the outputs of a phase. bias,
    multiplier, negative: (units,), the latter two None with 3 digits.
    """

    digits: int
    phases: tuple[tuple[int, int, Taps, Taps], ...]
    weight: Tensor
    bias: Tensor
    multiplier: Tensor | None
    negative: Tensor | None
    inputs: int
    outputs: int
    units: int
    step: int
    taps: int


@dataclass(frozen=True)
class Result:
    """What becomes of sums: clamped to low ... high; negative ones times slope / 2^10 (3 digits); shuffled.

    kind: a key of RESULTS. channels: of the result, in whole eights where it is activations.
    """

    kind: str | torch.dtype
    channels: int
    low: int
    high: int
    shuffle: int = 1
    slope: int = 0


def whole(channels: int) -> int:
    """In whole eights."""
    return -(-channels // UNIT) * UNIT


def pack(
    weight: Tensor,
    places: Tensor,
    digits: int,
    values: tuple[Tensor, Tensor | None, Tensor | None],
    device: torch.device,
    *,
    stride: int = 1,
    padding: int = 0,
    transposed: bool = False,
) -> ConvLayer:
    """A layer for `device`. weight: integers of 16 bits, laid out as in torch. places: (units,), the output that
    belongs at each place of the result, -1 for none. values: bias, multiplier and that of negative sums, by output."""
    weight = weight.cpu().to(torch.int32)
    if transposed:
        weight = weight.transpose(0, 1)
    outputs, inputs, *kernel = weight.shape
    step = stride if transposed else 1
    phases, parts = [], []
    for row in range(step):
        for column in range(step):
            rows, columns = (
                Taps.of(size, padding, step, phase, transposed)
                for size, phase in zip(kernel, (row, column), strict=True)
            )
            phases.append((row, column, rows, columns))
            parts.append(weight[:, :, list(rows.kernel)][..., list(columns.kernel)].flatten(2))
    taps = _placed(torch.cat(parts, 2), places).permute(2, 0, 1)
    bias, multiplier, negative = (None if one is None else _placed(one.cpu(), places).to(device) for one in values)
    assert bias is not None
    return ConvLayer(
        digits,
        tuple(phases),
        fragments(taps, digits).to(device),
        bias,
        multiplier,
        negative,
        inputs,
        outputs,
        len(places),
        step,
        len(taps),
    )


def _placed(values: Tensor, places: Tensor) -> Tensor:
    """Outputs (the first dimension) at their places, zeros where there is none."""
    placed = values[places.clamp_min(0)]
    placed[places < 0] = 0
    return placed.contiguous()


def fragments(weight: Tensor, digits: int) -> Tensor:
    """(taps, units, inputs) int32 -> bytes (taps, groups, units / 8, 32 lanes, 16): a lane's registers of a product.

    Digits of a weight, halves of a group, four neighbours; which inputs these are follows from how the kernel takes
    activations apart.
    """
    taps, units, inputs = weight.shape
    groups = -(-inputs // GROUP)
    half, lane, place = torch.meshgrid(torch.arange(2), torch.arange(4), torch.arange(4), indexing="ij")
    if digits == 2:  # two pairs of int16, eight apart
        order = 16 * half + 2 * lane + place % 2 + 8 * (place // 2)
    else:  # four int32, four apart
        order = 16 * half + 4 * place + lane
    padded = F.pad(weight, (0, groups * GROUP - inputs)).view(taps, units // UNIT, UNIT, groups, GROUP)
    ordered = padded[..., order.flatten()].view(taps, units // UNIT, UNIT, groups, 2, 4, 4)
    both = torch.stack([ordered & 255, ordered >> 8 & 255]).to(torch.uint8)
    # digit, tap, unit, output, group, half, lane, place
    return both.permute(1, 4, 2, 3, 6, 0, 5, 7).reshape(taps, groups, units // UNIT, 32, 16).contiguous()


def convolve(layer: ConvLayer, x: Tensor, size: tuple[int, int], result: Result, skip: Tensor | None = None) -> Tensor:
    """The result of a layer for activations x (B, H, W, C), contiguous, on the layer's device.

    size: rows and columns of the convolution's outputs to compute. Activations are (B, rows, columns, channels), so are
    pixels, uint8; floats are (B, channels, rows, columns).
    """
    batch, height, width, inputs = x.shape
    rows, columns = (length * result.shuffle for length in size)
    if isinstance(result.kind, torch.dtype):
        dtype, shape = result.kind, (batch, result.channels, rows, columns)
    else:
        dtype = torch.uint8 if result.kind == "pixels" else x.dtype
        shape = (batch, rows, columns, result.channels)
    out = torch.empty(shape, dtype=dtype, device=x.device)
    phases, weights = [], 0
    for row, column, down, across in layer.phases:
        lengths = (-(-(length - first) // layer.step) for length, first in zip(size, (row, column), strict=True))
        taps = (down.first, len(down.kernel), across.first, len(across.kernel))
        phases.append((row, column, *taps, *(max(0, length) for length in lengths), weights))
        weights += len(down.kernel) * len(across.kernel)
    numbers = (
        *(layer.digits, batch, height, width, inputs, layer.outputs, layer.units, result.shuffle, layer.step),
        *(rows, columns, result.channels, result.low, result.high, result.slope, RESULTS[result.kind], layer.taps),
    )
    tensors = (x, layer.weight, layer.bias, layer.multiplier, layer.negative, skip, out)
    addresses = tuple(0 if tensor is None else tensor.data_ptr() for tensor in tensors)
    _native.cuda_core().integer_conv_cuda(numbers, phases, addresses, _native.device_index(x), _native.stream(x))
    return out
