"""Labels from latents: heads, the adapter for vision models, data and metrics."""

from pylatent.tasks.adapter import AdaptedClassifier, Distillation, LatentAdapter
from pylatent.tasks.head_file import HeadHeader, load_head, save_head
from pylatent.tasks.heads import ConcatResNet, FusionGated, LatentHead, LatentMLP, LatentResNet, ScalesResNet, SelfGated
from pylatent.tasks.segmentation import LatentSegmenter

__all__ = [
    "AdaptedClassifier",
    "ConcatResNet",
    "Distillation",
    "FusionGated",
    "HeadHeader",
    "LatentAdapter",
    "LatentHead",
    "LatentMLP",
    "LatentResNet",
    "LatentSegmenter",
    "ScalesResNet",
    "SelfGated",
    "load_head",
    "save_head",
]
