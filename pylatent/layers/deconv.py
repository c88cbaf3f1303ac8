"""The codecs' transposed convolution (5x5, stride 2), in a form that is faster where the outputs are few.

Each of the four pixel phases of the result is a 3x3 convolution of the input, so that one convolution with four times
the outputs, then a pixel shuffle, computes it. On a CPU that is about three times as fast for 3 outputs, where the
transposed convolution keeps the vector units idle.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def phase_weight(weight: Tensor) -> Tensor:
    """(I, O, 5, 5) of a transposed convolution -> (4 O, I, 3, 3) of the convolution before the pixel shuffle.

    Along each axis, output 2i + p takes input i + d with tap 2 + p - 2d, for d in -1, 0, 1, where there is such a tap.
    """
    inputs, outputs = weight.shape[:2]
    phases = weight.new_zeros(outputs, 2, 2, inputs, 3, 3)
    taps = weight.transpose(0, 1)
    for p, rows, row_taps in ((0, [0, 1, 2], [4, 2, 0]), (1, [1, 2], [3, 1])):
        for q, columns, column_taps in ((0, [0, 1, 2], [4, 2, 0]), (1, [1, 2], [3, 1])):
            for row, tap in zip(rows, row_taps, strict=True):
                phases[:, p, q, :, row, columns] = taps[:, :, tap, column_taps]
    return phases.reshape(4 * outputs, inputs, 3, 3)


def deconv_by_phases(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """`layer(x)` for kernel 5, stride 2, padding 2, output padding 1; x (B, I, H, W) -> (B, O, 2H, 2W)."""
    bias = None if layer.bias is None else layer.bias.repeat_interleave(4)
    return F.pixel_shuffle(F.conv2d(x, phase_weight(layer.weight), bias, padding=1), 2)


class FewOutputsDeconv(nn.ConvTranspose2d):
    """The last layer of a synthesis: phases on the CPU unless its weights need a gradient, then the plain layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 5, stride=2, padding=2, output_padding=1)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if input.device.type == "cpu" and not (torch.is_grad_enabled() and self.weight.requires_grad):
            return deconv_by_phases(self, input)
        return super().forward(input, output_size)
