"""The universal adapter of POLC: latents in the place of a vision model's stem.

    y_hat ─ conv 1x1 ─ pixel shuffle ×r ─ neighbourhood attention block ─► features that the model's stem would give

Zhang et al. 2025, "Perception-Oriented Latent Coding for High-Performance Compressed Domain Semantic Inference"
(arXiv 2507.01608). Models are timm's ConvNeXt, ViT (DeiT) and ResNet, or anything built like them. Nothing here has
pretrained weights: those of a backbone are whatever the caller's model has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pylatent.codecs.latents import Latents
from pylatent.layers.neighbourhood import NeighbourhoodBlock
from pylatent.tasks.heads import LatentHead, y_of

# The paper's weights of the distillation loss, by timm's names; they depend on the size of the features.
DISTILLATION_WEIGHTS = {
    "convnext_tiny": 0.01,
    "convnext_large": 0.001,
    "deit_small_patch16_224": 0.1,
    "pspnet50": 10.0,
}
_LATENT_STRIDE = 16
_HEAD_CHANNELS = 32


@dataclass(frozen=True)
class Stem:
    """What a stem puts out: `channels`, at 1/`stride` of the sides; `tokens` (B, n, C) or a map (B, C, h, w)."""

    channels: int
    stride: int
    tokens: bool = False


class LatentAdapter(nn.Module):
    """y_hat (B, latent_channels, h, w), quality (B,) or None -> (B, channels, upscale * h, upscale * w).

    levels: the qualities that the codec has, 1 for a fixed rate. y_hat is taken as stored, before the inverse gain.
    """

    def __init__(self, latent_channels: int, channels: int, *, upscale: int, levels: int = 8, heads: int | None = None):
        super().__init__()
        heads = max(1, channels // _HEAD_CHANNELS) if heads is None else heads
        if channels % heads:
            raise ValueError(f"`channels` must be a multiple of heads = {heads}, got {channels}")
        self.project = nn.Conv2d(latent_channels, upscale * upscale * channels, 1)
        self.shuffle = nn.PixelShuffle(upscale)
        self.block = NeighbourhoodBlock(channels, heads, levels=levels)

    def forward(self, y_hat: Tensor, quality: Tensor | None = None) -> Tensor:
        return self.block(self.shuffle(self.project(y_hat)), quality)


def take_stem(model: Any) -> Stem:
    """Replaces a model's stem by nothing, in place, so that it takes the stem's output; says what that is.

    Known by what they have: ConvNeXt (`stem`, `stages`), ViT (`patch_embed`, `blocks`), ResNet (`conv1`, `layer1`).
    Raises ValueError for another model, or one whose stem an adapter cannot stand for.
    """
    if hasattr(model, "stem") and hasattr(model, "stages"):
        first = next(module for module in model.stem.modules() if isinstance(module, nn.Conv2d))
        stem = Stem(_last_channels(model.stem), first.stride[0] * _other_strides(model.stem, first))
        model.stem = nn.Identity()
    elif hasattr(model, "patch_embed") and hasattr(model, "blocks"):
        stem = Stem(model.patch_embed.proj.out_channels, model.patch_embed.proj.stride[0], tokens=True)
        model.patch_embed = _Tokens(model.patch_embed.grid_size)
    elif all(hasattr(model, name) for name in ("conv1", "bn1", "maxpool", "layer1")):
        stem = Stem(model.bn1.num_features, 4)
        for name in ("conv1", "bn1", "act1", "relu", "maxpool"):
            if hasattr(model, name):
                setattr(model, name, nn.Identity())
    else:
        raise ValueError(f"{type(model).__name__} has no stem that is known: ConvNeXt, ViT and ResNet of timm have")
    if _LATENT_STRIDE % stem.stride:
        raise ValueError(f"the stem has stride {stem.stride}: an adapter needs a divisor of {_LATENT_STRIDE}")
    return stem


def stages_of(model: Any) -> list[nn.Module]:
    """The modules whose outputs are distilled: a ConvNeXt's stages, a ViT's blocks, a ResNet's four layers."""
    if hasattr(model, "stages"):
        return list(model.stages)
    if hasattr(model, "blocks"):
        return list(model.blocks)
    return [model.layer1, model.layer2, model.layer3, model.layer4]


def quality_of(latents: Latents) -> Tensor | None:
    """The qualities as a tensor (B,), None for a fixed rate."""
    if latents.quality is None:
        return None
    return torch.tensor(latents.quality, dtype=torch.float32, device=latents.y.device)


class AdaptedClassifier(LatentHead):
    """An adapter and a timm model without its stem: latents -> logits.

    backbone: a name of timm's, whose model is made with random weights, or a model, which is then changed in place.
    With `freeze`, only the adapter trains: the backbone needs no gradient and stays in eval mode.
    """

    def __init__(self, channels: int, classes: int, *, backbone: Any, levels: int = 8, freeze: bool = False) -> None:
        super().__init__(channels, classes)
        self.name = backbone if isinstance(backbone, str) else None
        self.levels, self.frozen = levels, freeze
        self.backbone: nn.Module = (
            timm().create_model(backbone, num_classes=classes) if isinstance(backbone, str) else backbone
        )
        stem = take_stem(self.backbone)
        self.adapter = LatentAdapter(channels, stem.channels, upscale=_LATENT_STRIDE // stem.stride, levels=levels)
        self.backbone.requires_grad_(not freeze)

    def forward(self, latents: Latents) -> Tensor:
        return self.backbone(self.adapter(y_of(latents, self.channels), quality_of(latents)))

    def train(self, mode: bool = True) -> AdaptedClassifier:
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    @property
    def config(self) -> dict[str, Any]:
        if self.name is None:
            raise ValueError("a classifier whose backbone was given as a model cannot be stored: name one of timm's")
        return {**super().config, "backbone": self.name, "levels": self.levels, "freeze": self.frozen}


class Distillation:
    """lambda * sum over the stages of the MSE between the student's features and a frozen pixel teacher's.

        L = L_task + distillation(latents, x)      (the rate has no gradient with a frozen codec)

    student: `AdaptedClassifier` (or a segmenter) whose backbone has the teacher's stages. The teacher is put into eval
    mode and needs no gradient.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, weight: float) -> None:
        self.student, self.teacher, self.weight = student, teacher.eval().requires_grad_(False), weight
        self._pairs = list(zip(stages_of(student.backbone), stages_of(teacher), strict=True))

    def __call__(self, latents: Latents, x: Tensor) -> tuple[Tensor, Tensor]:
        """Latents, and pixels (B, 3, H, W) normalised as the teacher wants them -> (output of the student, loss)."""
        with _Outputs([student for student, _ in self._pairs]) as ours:
            output = self.student(latents)
        with torch.no_grad(), _Outputs([teacher for _, teacher in self._pairs]) as theirs:
            self.teacher(x)
        losses = [(a.float() - b.float()).pow(2).mean() for a, b in zip(ours.values, theirs.values, strict=True)]
        return output, self.weight * torch.stack(losses).sum()


def timm() -> ModuleType:
    """The module timm. Raises ImportError, naming the extra, where it is not installed."""
    try:
        import timm as module
    except ImportError as error:
        raise ImportError("models of timm need the extra: pip install 'pylatent[tasks]'") from error
    return module


class _Tokens(nn.Module):
    """Stands for a ViT's patch embedding: a map (B, C, h, w) of its grid -> tokens (B, h * w, C)."""

    def __init__(self, grid_size: tuple[int, int]) -> None:
        super().__init__()
        self.grid_size = grid_size

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) != tuple(self.grid_size):
            raise ValueError(f"this ViT takes latents of {tuple(self.grid_size)}, got {tuple(x.shape[2:])}")
        return x.flatten(2).transpose(1, 2)


class _Outputs:
    """Collects what modules put out while the block runs, in their order."""

    def __init__(self, modules: list[nn.Module]) -> None:
        self.modules, self.values = modules, list[Tensor]()

    def __enter__(self) -> _Outputs:
        self._handles = [m.register_forward_hook(lambda m, i, output: self.values.append(output)) for m in self.modules]
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()


def _last_channels(stem: nn.Module) -> int:
    return [module for module in stem.modules() if isinstance(module, nn.Conv2d)][-1].out_channels


def _other_strides(stem: nn.Module, first: nn.Conv2d) -> int:
    strides = [m.stride[0] for m in stem.modules() if isinstance(m, nn.Conv2d) and m is not first]
    return math.prod(strides)
