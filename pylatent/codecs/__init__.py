"""Codecs: pixels to latents, latents to bytes, and back."""

from pylatent.codecs.base import Codec
from pylatent.codecs.hyperprior import MeanScaleHyperprior, ScaleHyperprior
from pylatent.codecs.latents import CodecOutput, Latents, LevelParameters, Quantized
from pylatent.codecs.nested import NestedCodec
from pylatent.coding.container import Bitstream

__all__ = [
    "Bitstream",
    "Codec",
    "CodecOutput",
    "Latents",
    "LevelParameters",
    "MeanScaleHyperprior",
    "NestedCodec",
    "Quantized",
    "ScaleHyperprior",
]
