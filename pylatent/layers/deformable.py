"""Deformable convolution as a module, and the alignment of a reference that is built from it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from pylatent.ops import deform_conv2d


class DeformConv2d(nn.Module):
    """`ops.deform_conv2d` with its weight: constructor, call, state dict and initialisation of torchvision's module.

    input (B, in_channels, H, W), offset (B, 2 * offset_groups * kernel height * kernel width, H', W') and, optionally,
    mask (B, offset_groups * kernel height * kernel width, H', W') -> (B, out_channels, H', W').
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"`{name}` must be a multiple of groups = {groups}, got {channels}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.padding = _pair(padding)
        self.dilation = _pair(dilation)
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters as `torch.nn.Conv2d` does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        return deform_conv2d(input, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask=mask)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding}" if self.padding != (0, 0) else ""
        text += f", dilation={self.dilation}" if self.dilation != (1, 1) else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        return text + (", bias=False" if self.bias is None else "")


class DeformableAlignment(nn.Module):
    """Moves the content of a reference latent to where the latent has it, at several scales.

    The alignment F_a of "Conditional Latent Coding with Learnable Synthesized Reference for Deep Image Compression"
    (arXiv 2502.09971, multi-scale deformable alignment of the conditional latent matching), as its authors' code has it
    (`MultiScaleDeformAlign`): y and reference (B, channels, H, W) -> (B, channels, H, W).

        y, reference ─► cat ─┬─► conv 3×3 ─ GELU ─ conv 3×3 ─┬─► offsets
                             │                               └─► sigmoid ─► masks
                             │
        reference ─┬─────────┼─► deformable 5×5 (offsets, masks) ─ GELU ─┐
                   └─────────┼─► deformable 3×3 (offsets, masks) ─ GELU ─┼─► cat ─► conv 1×1 ─ GELU ─ conv 1×1 ─►
                             └─► conv 1×1 ─ GELU ─ conv 1×1 ─────────────┘

    The paper's code has four heads, for the offsets and masks of both kernels, which are nearly half of the arithmetic
    of its matching. Here they are one: `hidden` channels (by default `channels`, a quarter of the four together)
    and one output. With `hidden = 4 * channels` the weights of four heads fit into it, block by block.

    The last convolution of the head starts at zero, so that training starts from plain convolutions (times 1/2, the
    sigmoid of 0).
    """

    def __init__(self, channels: int, *, kernel_sizes: Sequence[int] = (5, 3), hidden: int | None = None) -> None:
        super().__init__()
        for size in kernel_sizes:
            if size < 1 or size % 2 == 0:
                raise ValueError(f"`kernel_sizes` must be odd, so that shapes are kept, got {tuple(kernel_sizes)}")
        hidden = channels if hidden is None else hidden
        self.taps = [size * size for size in kernel_sizes]
        last = nn.Conv2d(hidden, 3 * sum(self.taps), 3, padding=1)
        self.head = nn.Sequential(nn.Conv2d(2 * channels, hidden, 3, padding=1), nn.GELU(), last)
        self.branches = nn.ModuleList(
            DeformConv2d(channels, channels, size, padding=size // 2) for size in kernel_sizes
        )
        self.fine = nn.Sequential(nn.Conv2d(2 * channels, channels, 1), nn.GELU(), nn.Conv2d(channels, channels, 1))
        self.fuse = nn.Sequential(
            nn.Conv2d((len(self.taps) + 1) * channels, channels, 1), nn.GELU(), nn.Conv2d(channels, channels, 1)
        )
        with torch.no_grad():
            for parameter in last.parameters():
                parameter.zero_()

    def forward(self, y: Tensor, reference: Tensor) -> Tensor:
        both = torch.cat([y, reference], 1)
        offsets, masks = self.head(both).split([2 * sum(self.taps), sum(self.taps)], 1)
        parameters = zip(
            self.branches,
            offsets.split([2 * n for n in self.taps], 1),
            masks.sigmoid().split(self.taps, 1),
            strict=True,
        )
        aligned = [F.gelu(branch(reference, offset, mask)) for branch, offset, mask in parameters]
        return self.fuse(torch.cat([*aligned, self.fine(both)], 1))
