"""The blocks of channels that the deformable convolution on the CPU works on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from pylatent.ops.deform_conv2d.sizes import Sizes

GROUP = 16  # outputs that the native code computes together


class Block(NamedTuple):
    """Channels [first, first + channels) of the input, which make `outputs`.

    They are all or some of the channels of one group, from `first_of_group` on; or, if `depthwise`, groups of one input
    and one output channel each.
    """

    first: int
    channels: int
    outputs: slice
    first_of_group: int
    depthwise: bool

    @property
    def of_input(self) -> slice:
        return slice(self.first, self.first + self.channels)

    @property
    def output_count(self) -> int:
        return self.outputs.stop - self.outputs.start

    def of_weight(self, weight: Tensor) -> Tensor:
        """(outputs of the group, channels of the block, taps), or (1, channels of the block, taps) if depthwise"""
        if self.depthwise:
            return weight[self.outputs].flatten(2).transpose(0, 1)
        first = self.first - self.first_of_group
        return weight[self.outputs, first : first + self.channels].flatten(2)

    def offset_groups(self, n: Sizes) -> int:
        """How many offset groups the block touches."""
        per_group = n.channels // n.offset_groups
        return (self.first + self.channels - 1) // per_group - self.first // per_group + 1


def blocks(n: Sizes, columns: int) -> Iterator[Block]:
    """Blocks of about so many columns, taps times channels."""
    size = max(GROUP, columns // n.taps // GROUP * GROUP)
    if n.channels == n.groups == n.out_channels:
        for first in range(0, n.channels, size):
            end = min(first + size, n.channels)
            yield Block(first, end - first, slice(first, end), first, depthwise=True)
        return
    per_group, out_per_group = n.channels // n.groups, n.out_channels // n.groups
    for group in range(n.groups):
        start, outputs = group * per_group, slice(group * out_per_group, (group + 1) * out_per_group)
        for first in range(start, start + per_group, size):
            yield Block(first, min(size, start + per_group - first), outputs, start, depthwise=False)
