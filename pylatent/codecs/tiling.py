"""Run a network over a large picture in tiles, with a halo that makes the result that of the whole picture.

Every tile is read with `halo` extra inputs on each side, so that no output depends on a padding that the whole picture
would not have; at the picture's own border a tile ends there, and the network pads as it always does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def _spans(length: int, tile: int, halo: int) -> Iterator[tuple[int, int, int, int]]:
    """(start, end, first read, last read) of each tile along one side, in inputs."""
    for start in range(0, length, tile):
        end = min(start + tile, length)
        yield start, end, max(0, start - halo), min(length, end + halo)


def reach(network: nn.Sequential) -> tuple[Fraction, int]:
    """(factor by which the sides grow, halo in inputs) of a network of convolutions, shuffles and pointwise layers.

    The halo is how far from a position its inputs lie, taken up to a multiple of the factor by which the sides shrink.
    """
    return reach_of(tuple(_layers(network)))


def growth(network: nn.Sequential) -> int:
    """The factor by which the sides grow, of a network that grows them, without fractions."""
    up, down = 1, 1
    for grows, _, stride in _layers(network):
        up, down = (up * stride, down) if grows else (up, down * stride)
    return up // down


def run_network(
    network: nn.Sequential, x: Tensor, *, tile: int, function: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """`network(x)`, or a `function` of the same layers; in tiles where a side of x is longer than `tile`."""
    function = function or network
    if max(x.shape[-2:]) <= tile:
        return function(x)
    scale, halo = reach(network)
    return run_tiled(function, x, tile=tile, halo=halo, scale=scale)


def _layers(network: nn.Sequential) -> list[tuple[bool, int, int]]:
    """(whether it grows the sides, kernel, stride) of each layer, those of a residual block along its longest path."""
    layers = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            layers.append((isinstance(module, nn.ConvTranspose2d), module.kernel_size[0], module.stride[0]))
        elif isinstance(module, nn.PixelShuffle):
            layers.append((True, 1, module.upscale_factor))
        elif isinstance(module, nn.PixelUnshuffle):
            layers.append((False, 1, module.downscale_factor))
    return layers


@lru_cache  # fractions take their time, as much as a small picture's symbols
def reach_of(layers: tuple[tuple[bool, int, int], ...]) -> tuple[Fraction, int]:
    """`reach` of layers as `_layers` gives them: (whether it grows the sides, kernel, stride)."""
    scale, inputs = Fraction(1), Fraction(0)
    for transposed, kernel, stride in layers:
        if transposed:
            inputs += Fraction(kernel // 2, stride) / scale
            scale *= stride
        else:
            inputs += kernel // 2 / scale
            scale /= stride
    multiple = max(Fraction(1), 1 / scale)
    return scale, int(-(-inputs // multiple) * multiple)


def run_tiled(function: Callable[[Tensor], Tensor], x: Tensor, *, tile: int, halo: int, scale: Fraction) -> Tensor:
    """`function(x)`, tile by tile. x (B, C, H, W) -> (B, C', ceil(H * scale), ceil(W * scale)).

    tile and halo are in inputs and must be multiples of the network's stride (1 / scale where it shrinks); the dtype
    and the channels of the result are those of the function's. Pictures of at most one tile go through in one piece.
    """
    height, width = x.shape[-2:]
    if height <= tile and width <= tile:
        return function(x)

    def run(tile: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return checkpoint(function, tile, use_reentrant=False)
        return function(tile)

    def scaled(position: int) -> int:
        return -(-position * scale.numerator // scale.denominator)

    result: Tensor | None = None
    for top, bottom, first_row, last_row in _spans(height, tile, halo):
        for left, right, first_column, last_column in _spans(width, tile, halo):
            part = run(x[..., first_row:last_row, first_column:last_column].contiguous())
            if result is None:
                shape = (*part.shape[:-2], scaled(height), scaled(width))
                result = torch.empty(shape, dtype=part.dtype, device=part.device)
            row, column = scaled(top) - scaled(first_row), scaled(left) - scaled(first_column)
            rows, columns = scaled(bottom) - scaled(top), scaled(right) - scaled(left)
            result[..., scaled(top) : scaled(bottom), scaled(left) : scaled(right)] = part[
                ..., row : row + rows, column : column + columns
            ]
    assert result is not None
    return result
