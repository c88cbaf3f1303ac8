"""Layers that codecs are made of."""

from pylatent.layers.deformable import DeformableAlignment, DeformConv2d
from pylatent.layers.gated_fusion import GatedFusion
from pylatent.layers.gdn import GDN
from pylatent.layers.neighbourhood import NeighbourhoodAttention, NeighbourhoodBlock
from pylatent.layers.residual import ClippedResidualBlock

__all__ = [
    "GDN",
    "ClippedResidualBlock",
    "DeformConv2d",
    "DeformableAlignment",
    "GatedFusion",
    "NeighbourhoodAttention",
    "NeighbourhoodBlock",
]
