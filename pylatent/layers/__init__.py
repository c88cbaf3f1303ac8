"""Layers that codecs are made of."""

from pylatent.layers.deformable import DeformableAlignment, DeformConv2d
from pylatent.layers.gated_fusion import GatedFusion
from pylatent.layers.gdn import GDN
from pylatent.layers.neighbourhood import NeighbourhoodAttention, NeighbourhoodBlock

__all__ = ["GDN", "DeformConv2d", "DeformableAlignment", "GatedFusion", "NeighbourhoodAttention", "NeighbourhoodBlock"]
