"""Window attention against its definition, position by position."""

import math

import pytest
import torch

from pylatent.layers import MixedBlock, WindowAttention


def by_definition(layer, x):
    """Every position attends to those of its window, cut at the borders of the map, one head after the other."""
    batch, height, width, channels = x.shape
    window, shift, size = layer.window, layer.shift, channels // layer.heads
    q, k, v = (part.view(batch, height, width, layer.heads, size) for part in layer.embedding_layer(x).chunk(3, -1))
    bias, result = layer.relative_position_params, torch.zeros_like(x).view(batch, height, width, layer.heads, size)

    def of(place):
        return (place + window - shift) // window

    for row in range(height):
        for column in range(width):
            keys = [(i, j) for i in range(height) for j in range(width) if (of(i), of(j)) == (of(row), of(column))]
            for head in range(layer.heads):
                scores = [
                    (q[:, row, column, head] * k[:, i, j, head]).sum(-1) / math.sqrt(size)
                    + bias[head, row - i + window - 1, column - j + window - 1]
                    for i, j in keys
                ]
                weights = torch.stack(scores, -1).softmax(-1)
                values = torch.stack([v[:, i, j, head] for i, j in keys], -1)
                result[:, row, column, head] = (weights[:, None] * values).sum(-1)
    return layer.linear(result.flatten(3))


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", [(4, 4), (4, 12), (8, 4)])
@torch.no_grad()
def test_it_is_its_definition(shifted, size):
    torch.manual_seed(0)
    layer = WindowAttention(6, 3, 4, shifted=shifted).double()
    layer.relative_position_params.mul_(50)
    x = torch.randn(2, *size, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(x), by_definition(layer, x), rtol=1e-11, atol=1e-11)


def test_gradients_reach_the_bias():
    layer = WindowAttention(8, 4, 4, shifted=True)
    layer(torch.randn(1, 8, 8, 8)).square().sum().backward()
    assert all(bool((parameter.grad != 0).any()) for parameter in layer.parameters())


@torch.no_grad()
def test_the_memory_format_does_not_matter():
    block = MixedBlock(4, 2, 4, shifted=True)
    x = torch.randn(2, 8, 8, 12)  # B, 2 * channels, H, W
    torch.testing.assert_close(block(x.contiguous(memory_format=torch.channels_last)), block(x))


def test_sides_that_windows_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="multiples of 4, got 8x6"):
        WindowAttention(8, 4, 4, shifted=False)(torch.zeros(1, 8, 6, 8))
    with pytest.raises(ValueError, match="multiple of head_channels = 5, got 8"):
        WindowAttention(8, 5, 4, shifted=False)
