"""Layers that codecs are made of."""

from pylatent.layers.deformable import DeformableAlignment, DeformConv2d
from pylatent.layers.gated_fusion import GatedFusion
from pylatent.layers.gdn import GDN
from pylatent.layers.neighbourhood import NeighbourhoodAttention, NeighbourhoodBlock
from pylatent.layers.resampling import DownBlock, ResidualBlock, UpBlock
from pylatent.layers.residual import ClippedResidualBlock
from pylatent.layers.windows import MixedBlock, WindowAttention, WindowBlock

__all__ = [
    "GDN",
    "ClippedResidualBlock",
    "DeformConv2d",
    "DeformableAlignment",
    "DownBlock",
    "GatedFusion",
    "MixedBlock",
    "NeighbourhoodAttention",
    "NeighbourhoodBlock",
    "ResidualBlock",
    "UpBlock",
    "WindowAttention",
    "WindowBlock",
]
