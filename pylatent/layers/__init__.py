"""Layers that codecs are made of."""

from pylatent.layers.gdn import GDN

__all__ = ["GDN"]
