"""Dense prediction from latents: a ResNet behind the adapter, and a pyramid pooling head (PSPNet).

    y_hat ─ adapter ─ layer1 … layer4 ─ pyramid pooling ─ conv ─► logits at the picture's size
                              └─ auxiliary head, in training

Zhao et al. 2017, "Pyramid Scene Parsing Network" (arXiv 1612.01105); behind an adapter as POLC's PSPNet50 (arXiv
2507.01608), whose stem has 128 channels: timm's resnet50 with `stem_type="deep", stem_width=64, output_stride=8`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.codecs.latents import Latents
from pylatent.tasks.adapter import _LATENT_STRIDE, LatentAdapter, quality_of, take_stem
from pylatent.tasks.heads import y_of

AUXILIARY_WEIGHT = 0.4
_BINS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """Means over 1, 4, 9 and 36 parts of the map, projected, enlarged and appended: (B, C, h, w) -> (B, 2C, h, w).

    Without the paper's batch norm, which the one mean of a single picture could not feed. C is a multiple of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % len(_BINS):
            raise ValueError(f"`channels` must be a multiple of {len(_BINS)}, got {channels}")
        part = channels // len(_BINS)
        self.parts = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), nn.Conv2d(channels, part, 1), nn.ReLU()) for bins in _BINS
        )

    def forward(self, x: Tensor) -> Tensor:
        maps = [F.interpolate(part(x), size=x.shape[2:], mode="bilinear") for part in self.parts]
        return torch.cat([x, *maps], 1)


class LatentSegmenter(nn.Module):
    """Latents -> logits (B, classes, H, W) of the pictures' size; in training also the auxiliary head's.

    backbone: a ResNet of timm, changed in place; the last two of its layers feed the heads. With `freeze`, adapter and
    heads train, the backbone stays as it is, in eval mode.
    """

    def __init__(
        self, channels: int, classes: int, backbone: Any, *, levels: int = 8, hidden: int = 512, freeze: bool = False
    ) -> None:
        super().__init__()
        self.channels, self.frozen = channels, freeze
        stem = take_stem(backbone)
        self.backbone = backbone
        self.adapter = LatentAdapter(channels, stem.channels, upscale=_LATENT_STRIDE // stem.stride, levels=levels)
        third, fourth = (_outputs_of(layer) for layer in (backbone.layer3, backbone.layer4))
        self.head = nn.Sequential(
            PyramidPooling(fourth), *_conv_bn_relu(2 * fourth, hidden), nn.Conv2d(hidden, classes, 1)
        )
        self.auxiliary = nn.Sequential(*_conv_bn_relu(third, hidden // 2), nn.Conv2d(hidden // 2, classes, 1))
        backbone.requires_grad_(not freeze)

    def forward(self, latents: Latents) -> Tensor | tuple[Tensor, Tensor]:
        x = self.adapter(y_of(latents, self.channels), quality_of(latents))
        body = self.backbone
        third = body.layer3(body.layer2(body.layer1(x)))
        logits = self._enlarge(self.head(body.layer4(third)), latents.size)
        if self.training:
            return logits, self._enlarge(self.auxiliary(third), latents.size)
        return logits

    def train(self, mode: bool = True) -> LatentSegmenter:
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    @staticmethod
    def _enlarge(logits: Tensor, size: tuple[int, int]) -> Tensor:
        """To the grid of the latents in pixels, which may exceed the picture, then cut to the picture."""
        height, width = (-(-side // _LATENT_STRIDE) * _LATENT_STRIDE for side in size)
        return F.interpolate(logits, size=(height, width), mode="bilinear")[..., : size[0], : size[1]]


def segmentation_loss(output: Tensor | tuple[Tensor, Tensor], target: Tensor, *, ignore: int = 255) -> Tensor:
    """Cross entropy against (B, H, W) class numbers, the auxiliary head's weighted by 0.4; `ignore` counts nowhere."""
    if isinstance(output, Tensor):
        return F.cross_entropy(output, target, ignore_index=ignore)
    main, auxiliary = (F.cross_entropy(logits, target, ignore_index=ignore) for logits in output)
    return main + AUXILIARY_WEIGHT * auxiliary


def _conv_bn_relu(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def _outputs_of(layer: nn.Module) -> int:
    """Channels that a ResNet's layer puts out: of its last convolution."""
    return [module for module in layer.modules() if isinstance(module, nn.Conv2d)][-1].out_channels
